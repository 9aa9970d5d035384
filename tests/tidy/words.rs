//! The words of the house: one word for one thing, in comments, messages and documents.
//!
//! Only words that stand for one of *our* concepts and are commonly used for it are listed, each with the word to use.
//! Code is not checked (other crates have their own names), and saying what we are not is free.

use super::source::{Finding, finding, line_of, places_of};

/// A word of other houses, and ours.
const FOREIGN: [(&str, &str); 18] = [
    ("cluster", "reserve"),
    ("clusters", "reserve"),
    ("replica set", "reserve"),
    ("replica", "copy"),
    ("replicas", "copies"),
    ("replication count", "replication factor"),
    ("server", "keeper (or Box)"),
    ("servers", "keepers (or Boxes)"),
    ("storage node", "keeper"),
    ("remote node", "peer"),
    ("peer node", "peer"),
    ("backup", "snapshot, or copy"),
    ("backups", "snapshots, or copies"),
    ("restore point", "snapshot"),
    ("shard", "chunk"),
    ("shards", "chunks"),
    ("scrub", "sweep"),
    ("alert", "event"),
];

/// Phrases in which a foreign word is right: what we are not, and names of other things.
const FREE: [&str; 14] = [
    "no server",
    "runs a server",
    "run a server",
    "without a server",
    "a server for them",
    "not a server",
    "web server",
    "http server",
    "s3 server",
    "not a backup",
    "no backup",
    "backup program",
    "backup tool",
    "no cluster",
];

/// Checks prose: the comments and strings of a Rust file, or a whole document.
pub fn check(path: &str, prose: &str) -> Vec<Finding> {
    let mut lower = prose.to_ascii_lowercase();
    for phrase in FREE {
        lower = lower.replace(phrase, &" ".repeat(phrase.len()));
    }
    let mut findings = Vec::new();
    for (word, ours) in FOREIGN {
        for at in places_of(&lower, word) {
            findings.push(finding(
                path,
                line_of(&lower, at),
                format!("\"{word}\" is not a word of this house; say {ours}"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn every_foreign_word_is_found_in_prose() {
        for (word, _) in FOREIGN {
            let found = check("README.md", &format!("The Boxes.\nThis {word} is ours.\n"));
            assert!(
                !found.is_empty() && found.iter().all(|finding| finding.line == 2),
                "{word}"
            );
        }
        assert_eq!(check("a", "Each Server.").len(), 1);
    }

    #[test]
    fn saying_what_we_are_not_is_free() {
        assert_eq!(
            check(
                "README.md",
                "Nobody runs a server. It is not a backup program. A page-tree node. Observers."
            ),
            []
        );
    }

    #[test]
    fn code_is_not_prose() {
        let source = Source::new(
            "src/path/a.rs",
            "use x::server;\nfn f() { say(\"our cluster\"); } // and a shard\n",
        );
        assert_eq!(check(&source.path, &source.prose).len(), 2);
    }
}
