//! A source file in three views of equal shape: its code without comments and strings, its prose without code, and its
//! code without tests. Not a parser of Rust: just enough of its lexer that a word in a string is not taken for code.

use std::collections::BTreeSet;

/// A file of the repository.
pub struct Source {
    /// Relative to the top of the repository, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Comments and the insides of strings blanked.
    pub code: String,
    /// Everything but comments and the insides of strings blanked.
    pub prose: String,
    /// The code with items under `#[cfg(test)]` blanked; all of it if the whole file is for tests.
    pub product: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let (code, prose) = split(text);
        let product = without_tests(&code);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            prose,
            product,
        }
    }

    /// A file whose `mod` line stands under `#[cfg(test)]` is for tests as a whole.
    pub fn mark_as_test(&mut self) {
        self.product = blank(&self.code);
    }

    /// The room it is in: `main` for the front door, `lib` for the map, `None` outside src.
    pub fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(match inside.split_once('/') {
            Some((room, _)) => room,
            None => inside.trim_end_matches(".rs"),
        })
    }

    /// Its module path below the crate: `src/keeper/table.rs` is `keeper`, `table`.
    pub fn module(&self) -> Vec<&str> {
        let inside = self
            .path
            .strip_prefix("src/")
            .unwrap_or(&self.path)
            .trim_end_matches(".rs");
        let mut names: Vec<&str> = inside.split('/').collect();
        if names
            .last()
            .is_some_and(|last| matches!(*last, "mod" | "lib" | "main"))
        {
            names.pop();
        }
        names
    }
}

/// Something to repair, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

pub fn finding(path: &str, line: usize, what: impl Into<String>) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        what: what.into(),
    }
}

/// The line a byte is on, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where a word or path stands, not as part of a longer word.
pub fn places_of(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| {
            let end = at + word.len();
            (*at == 0 || !is_word(bytes[at - 1]) || !is_word(word.as_bytes()[0]))
                && (end == bytes.len() || !is_word(bytes[end]) || !is_word(bytes[end - 1]))
        })
        .collect()
}

/// Every byte but line ends becomes a space, so that lines and places stay the same.
pub fn blank(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect()
}

/// Code and prose of a file.
fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let (mut code, mut prose) = (blank(text).into_bytes(), blank(text).into_bytes());
    let mut at = 0;
    while at < bytes.len() {
        let end = prose_end(bytes, at);
        let view = if end > at { &mut prose } else { &mut code };
        let end = end.max(at + 1);
        view[at..end].copy_from_slice(&bytes[at..end]);
        at = end;
    }
    let text_of = |view: Vec<u8>| String::from_utf8_lossy(&view).into_owned();
    (text_of(code), text_of(prose))
}

/// Where a comment, string or character that starts here ends; `at` itself if none starts here.
fn prose_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let to = |end: Option<usize>| end.map_or(bytes.len(), |length| at + length);
    if rest.starts_with(b"//") {
        return to(rest.iter().position(|byte| *byte == b'\n'));
    }
    if rest.starts_with(b"/*") {
        return to(rest
            .windows(2)
            .position(|two| two == b"*/")
            .map(|found| found + 2));
    }
    let starts_word = at == 0 || !is_word(bytes[at - 1]);
    if rest[0] == b'r' && (starts_word || bytes[at - 1] == b'b') {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
            let inside = &rest[2 + hashes..];
            let found = inside.windows(close.len()).position(|part| part == close);
            return to(found.map(|found| 2 + hashes + found + close.len()));
        }
    }
    match rest {
        [b'"', ..] => to(quoted(rest, b'"')),
        // A lifetime has no closing quote after one character.
        [b'\'', b'\\', ..] | [b'\'', _, b'\'', ..] => to(quoted(rest, b'\'')),
        [b'\'', first, ..] if !first.is_ascii() => to(quoted(rest, b'\'')),
        _ => at,
    }
}

fn quoted(rest: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// Blanks each item that follows `#[cfg(test)]`: up to the brace that closes it, or its semicolon.
fn without_tests(code: &str) -> String {
    let mut product = code.to_owned();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let mut depth = 0usize;
        let end = code[start..].find(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(c, '}' | ';')
        });
        let end = end.map_or(code.len(), |length| start + length + 1);
        product.replace_range(start..end, &blank(&code[start..end]));
    }
    product
}

/// The files (without `.rs` or `/mod.rs`) whose `mod` line stands under `#[cfg(test)]`.
pub fn test_modules(sources: &[Source]) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for source in sources {
        for (start, _) in source.code.match_indices("#[cfg(test)]") {
            let item = source.code[start + "#[cfg(test)]".len()..].trim_start();
            let item = item
                .split_once("mod ")
                .filter(|(before, _)| before.len() < 12);
            let name =
                item.and_then(|(_, rest)| rest.split_once([';', '{']).map(|(name, _)| name.trim()));
            let dir = source
                .path
                .trim_end_matches(".rs")
                .trim_end_matches("/mod")
                .trim_end_matches("/lib");
            modules.extend(name.map(|name| format!("{dir}/{name}")));
        }
    }
    modules
}

#[test]
fn comments_strings_and_tests_are_told_from_code() {
    let text =
        "let a = \"x // y\"; // b\nlet c = r#\"d \" e\"#; /* f */ let g = 'h'; fn i<'j>() {}\n";
    let source = Source::new("src/keeper/x.rs", text);
    assert_eq!(source.code.len(), text.len());
    for (word, is_code) in [
        ("a", true),
        ("y", false),
        ("b", false),
        ("e", false),
        ("f", false),
        ("g", true),
        ("h", false),
        ("j", true),
    ] {
        assert_eq!(!places_of(&source.code, word).is_empty(), is_code, "{word}");
        assert_eq!(places_of(&source.prose, word).is_empty(), is_code, "{word}");
    }
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if c {} }\n}\nfn d() {}\n";
    let product = Source::new("src/keeper/x.rs", text).product;
    assert!(product.contains("fn a") && product.contains("fn d") && !product.contains('b'));
    assert_eq!(
        line_of(&product, product.find("fn d").expect("it is there")),
        6
    );
}

#[test]
fn a_file_knows_its_room_and_its_module() {
    let source = Source::new("src/keeper/table/slot.rs", "");
    assert_eq!(
        (source.room(), source.module()),
        (Some("keeper"), vec!["keeper", "table", "slot"])
    );
    let source = Source::new("src/keeper/mod.rs", "#[cfg(test)]\npub mod mock;\n");
    assert_eq!(source.module(), ["keeper"]);
    assert_eq!(
        test_modules(&[source]).into_iter().collect::<Vec<_>>(),
        ["src/keeper/mock"]
    );
    assert_eq!(Source::new("src/main.rs", "").room(), Some("main"));
    assert_eq!(Source::new("cross/xtask/src/ci.rs", "").room(), None);
}
