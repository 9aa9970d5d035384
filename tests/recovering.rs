//! The 24 words: shown to a person or written to a sheet, and to nothing else. They bring a Box back however they are given: from a pipe, or
//! typed on a terminal as they stand on the sheet.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;

use stage::{Stage, make_tree};

#[test]
fn the_words_are_taken_from_a_pipe_and_as_they_are_typed_from_the_sheet() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let sheet = fs::read_to_string(stage.path("home-words")).unwrap();
    let is_number =
        |word: &&str| word.ends_with('.') && word[..word.len() - 1].parse::<u8>().is_ok();
    let all: Vec<_> = sheet.split_whitespace().collect();
    let words = all.windows(2).filter(|pair| is_number(&pair[0]));
    let words: Vec<_> = words.map(|pair| pair[1]).collect();
    assert_eq!(words.len(), 24, "{sheet}");
    let recover = |name: &'static str| ["recover", "--name", name, "--from", home.address()];

    // One word is missing, or another one is said: nothing is made.
    let attic = stage.new_box("attic");
    for wrong in [
        words[1..].join(" "),
        words.join(" ").replace(words[0], "zzzz"),
    ] {
        let refused = attic.run_with_input(&recover("attic"), &wrong);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(
            told.contains("these are not the 24 recovery words"),
            "{told}"
        );
        assert!(!attic.dir.exists());
    }
    let piped = attic.run_with_input(&recover("attic"), &words.join("\n"));
    assert!(piped.status.success(), "{piped:?}");
    assert!(attic.dir.join("identity").exists());

    // Typed, with the numbers of the sheet, two to a line; what stands above them is not typed.
    let typed = words.iter().enumerate();
    let typed: Vec<_> = typed
        .map(|(at, word)| format!("{}. {word}", at + 1))
        .collect();
    let lines: Vec<_> = typed.chunks(2).map(|two| two.join("   ")).collect();
    let cellar = stage.new_box("cellar");
    let asked = cellar.on_a_terminal(&recover("cellar").join(" "), &(lines.join("\n") + "\n"));
    let shown = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success(), "{shown}");
    assert!(shown.contains("The 24 recovery words"), "{shown}");
    assert!(
        shown.contains("cellar belongs to the reserve again"),
        "{shown}"
    );
    let peers = home.json(&["peers", "--json"]);
    let names: Vec<_> = peers
        .as_array()
        .unwrap()
        .iter()
        .map(|peer| peer["name"].as_str())
        .collect();
    for name in ["home", "attic", "cellar"] {
        assert!(names.contains(&Some(name)), "{peers}");
    }
}

#[test]
fn the_words_are_shown_on_a_terminal_and_never_written_into_a_log() {
    let stage = Stage::new();
    let home = stage.new_box("home");
    let boot_file = stage.path("home.toml");
    fs::write(&boot_file, "name = \"home\"\n").unwrap();
    for unattended in [
        vec!["init", "--name", "home"],
        vec!["init", "--from-file", boot_file.to_str().unwrap()],
    ] {
        let refused = home.run(&unattended);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(
            told.contains("no words were made") && told.contains("--sheet"),
            "{told}"
        );
        assert!(!told.contains("24. "), "{told}");
        assert!(!home.dir.exists());
    }
    // What a cut of the power left of a sheet is no obstacle; one with words on it stays as it is.
    let sheet = stage.path("sheet");
    let attic = stage.new_box("attic");
    let args = [
        "init",
        "--name",
        "attic",
        "--sheet",
        sheet.to_str().unwrap(),
    ];
    fs::write(&sheet, "").unwrap();
    attic.succeeds(&args);
    let words = fs::read(&sheet).unwrap();
    attic.succeeds(&args);
    let cellar = stage.new_box("cellar");
    let refused = cellar.run(&[
        "init",
        "--name",
        "cellar",
        "--sheet",
        sheet.to_str().unwrap(),
    ]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(!cellar.dir.exists());
    assert_eq!(fs::read(&sheet).unwrap(), words);

    let shown = home.on_a_terminal("init --name home", "");
    let told = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success(), "{told}");
    assert!(told.contains("24. "), "{told}");
    // What was made before needs no words any more, whoever listens.
    home.succeeds(&["init", "--from-file", boot_file.to_str().unwrap()]);
}
