//! What the README gives to type: its indented blocks, and the commands named in its text.

/// An indented block.
pub struct Block {
    /// Where its first line is in the README, counted from one.
    pub line: usize,
    /// The heading it stands under.
    pub section: String,
    pub lines: Vec<String>,
}

/// Between these stands what a benchmark printed.
const FIGURES: [&str; 2] = ["<!-- bench: begin -->", "<!-- bench: end -->"];

/// All lines but what a benchmark printed, numbered from one.
fn lines(readme: &str) -> Vec<(usize, &str)> {
    let mut is_figure = false;
    let numbered = readme.lines().zip(1..).map(|(line, number)| (number, line));
    numbered
        .filter(|(_, line)| {
            is_figure = (is_figure || *line == FIGURES[0]) && *line != FIGURES[1];
            !is_figure
        })
        .collect()
}

pub fn blocks(readme: &str) -> Vec<Block> {
    let mut section = String::new();
    let mut found: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (number, line) in lines(readme) {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.to_owned();
        }
        let Some(typed) = line.strip_prefix("    ") else {
            is_open = false;
            continue;
        };
        if !is_open {
            let (line, section) = (number, section.clone());
            let lines = Vec::new();
            found.push(Block {
                line,
                section,
                lines,
            });
        }
        is_open = true;
        found.last_mut().unwrap().lines.push(typed.to_owned());
    }
    found
}

/// What stands between backticks in the text and begins with the program's name, up to a pipe.
pub fn named_commands(readme: &str) -> Vec<String> {
    let text: Vec<_> = lines(readme)
        .into_iter()
        .filter(|(_, line)| !line.starts_with("    "))
        .map(|(_, line)| line)
        .collect();
    let text = text.join("\n");
    let mut found = Vec::new();
    for paragraph in text.split("\n\n") {
        let pieces: Vec<_> = paragraph.split('`').collect();
        assert!(
            pieces.len() % 2 == 1,
            "a backtick has no partner: {paragraph}"
        );
        let spans = pieces.iter().skip(1).step_by(2);
        let spans = spans.map(|span| span.replace('\n', " "));
        found.extend(spans.filter_map(|span| before_a_pipe(&span)));
    }
    found
}

fn before_a_pipe(span: &str) -> Option<String> {
    let command = span.split(" | ").next()?.trim();
    command.starts_with("reserve ").then(|| command.to_owned())
}
