//! Paths as text: every path has one text, no two paths have the same, and none does anything to a terminal.

use std::fmt::Write as _;

/// A path as text. What is no printable UTF-8 is written as `\n`, `\t`, `\r` or `\xNN` byte by byte, and a backslash as `\\`.
pub fn shown(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                letter if is_dangerous(letter) => {
                    let mut bytes = [0; 4];
                    escape(&mut text, letter.encode_utf8(&mut bytes).as_bytes());
                }
                letter => text.push(letter),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// The bytes of a path, in hexadecimal, where its text is not the path itself.
pub fn hex_unless_plain(path: &[u8], text: &str) -> Option<String> {
    (text.as_bytes() != path).then(|| data_encoding::HEXLOWER.encode(path))
}

/// Control characters, and those that turn the direction of what follows.
fn is_dangerous(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_paths_have_the_same_text() {
        let paths: [&[u8]; 11] = [
            b"plain",
            "f\u{fc}r/\u{1f4f7}".as_bytes(),
            b"a\nb",
            b"a\\nb",
            b"a\\\nb",
            b"\xff\xfe",
            b"\\xff\\xfe",
            b"\x1b[2J",
            "\u{202e}gpj.exe".as_bytes(),
            b"\xe2\x80",
            b"",
        ];
        let texts: Vec<String> = paths.iter().map(|path| shown(path)).collect();
        let different: std::collections::BTreeSet<&String> = texts.iter().collect();
        assert_eq!(different.len(), paths.len(), "{texts:?}");
        assert_eq!(texts[0], "plain");
        assert_eq!(texts[1], "f\u{fc}r/\u{1f4f7}");
        assert_eq!(texts[2], "a\\nb");
        assert_eq!(texts[3], "a\\\\nb");
        assert_eq!(texts[5], "\\xff\\xfe");
        assert_eq!(texts[7], "\\x1b[2J");
        assert!(
            !texts
                .iter()
                .any(|text| text.contains(['\n', '\u{1b}', '\u{202e}']))
        );
        assert_eq!(hex_unless_plain(paths[0], &texts[0]), None);
        assert_eq!(
            hex_unless_plain(paths[5], &texts[5]).as_deref(),
            Some("fffe")
        );
    }
}
