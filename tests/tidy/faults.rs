//! An error for people has three parts: what happened, what it left unchanged, what to do next. None may be left empty where it is made.

use super::source::{Finding, Source, finding, line_of, places_of};

/// Checks one file: in the call of a fault's constructor no part is an empty text.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for at in places_of(&source.product, "Fault") {
        let call = &source.code[at..];
        let is_made = ["Fault::new(", "Fault::from_sentence("]
            .iter()
            .any(|start| call.starts_with(start));
        let open = at + call.find('(').unwrap_or(0);
        let Some(end) = is_made.then(|| closing(&source.code[open..])).flatten() else {
            continue;
        };
        // An empty text is two quotes that touch, with nothing of a text before or behind them.
        let parts = &source.text[open..open + end];
        if let Some(empty) = parts.find(" \"\"").filter(|place| {
            parts[place + 3..].trim_start().starts_with([',', ')'])
                || parts[place + 3..].trim().is_empty()
        }) {
            findings.push(finding(
                &source.path,
                line_of(&source.text, open + empty),
                "a part of this error is empty; say what happened, what is unchanged, and what to do next",
            ));
        }
    }
    findings
}

/// How far the parenthesis that opens here goes.
fn closing(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check(&Source::new("src/console/a.rs", text))
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn an_empty_part_is_found_and_an_escaped_quote_is_none() {
        assert_eq!(lines("fn f() { Fault::new(\"a\", \"\", \"c\") }"), [1]);
        assert_eq!(
            lines("fn f() {\n Fault::new(\n  format!(\"a ({b})\"),\n  \"b\",\n  \"\",\n ) }"),
            [5]
        );
        assert_eq!(
            lines("fn f() { Fault::from_sentence(&a, \"\", \"c\") }"),
            [1]
        );
        let whole = "fn f() { Fault::new(format!(\"no Box \\\"{a}\\\"\"), \"b\", \"c\"); g(\"\") }";
        assert_eq!(lines(whole), []);
    }
}
