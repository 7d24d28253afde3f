//! Parses the Markdown documents: code blocks with the comment before them, links and tables. Only the subset used by the
//! documents is supported; ambiguous input is an error.
//!
//! A block without a comment contains shell commands to run. A comment on its own line right before the block is one of
//! those listed at [`Mark`].

use std::collections::BTreeSet;

/// The meaning of a block, from the comment right before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// No comment: commands that exit.
    Run,
    /// `<!-- stays, answers at http://… -->`: the last command runs until Ctrl-C and is ready when the URL responds.
    Stays(String),
    /// `<!-- needs: docker -->`: commands that need this program.
    Needs(String),
    /// `<!-- from: path -->`: lines of a file in this repository.
    From(String),
    /// `<!-- illustration -->`: no commands.
    Illustration,
}

/// A code block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the first line, starting at 1.
    pub line: usize,
    /// Meaning of the block.
    pub mark: Mark,
    /// Lines without indentation and fence.
    pub text: String,
}

/// A step of a reader who follows the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Handles a block.
    Block(Block),
    /// `<!-- ctrl-c -->`: ends running commands.
    CtrlC,
}

/// A parsed document.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Steps in order.
    pub steps: Vec<Step>,
    /// All lines outside of blocks, with their numbers starting at 1.
    prose: Vec<(usize, String)>,
}

impl Document {
    /// Parses a document.
    ///
    /// # Errors
    /// Returns the line number of an unclosed fence, an unknown comment before a block, or a block without a comment that is
    /// not in a shell language.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut document = Self::default();
        let lines: Vec<&str> = text.lines().collect();
        // the comment right before the next block, and whether this line follows a blank line or starts the document
        let (mut comment, mut separated) = (None, true);
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let number = at + 1;
            let (language, body, next) = if let Some(fence) = Fence::open(line) {
                let length = lines[number..]
                    .iter()
                    .position(|line| fence.is_closed_by(line))
                    .ok_or_else(|| format!("line {number}: the fence is not closed"))?;
                let body: Vec<_> = lines[number..number + length].iter().map(|line| fence.strip(line)).collect();
                (fence.language, body, number + length + 1)
            } else if separated && is_indented(line) {
                let end = indented_end(&lines, at);
                (String::new(), lines[at..end].iter().map(|line| line.get(4..).unwrap_or_default()).collect(), end)
            } else {
                document.prose.push((number, (*line).to_owned()));
                at += 1;
                if line.trim().is_empty() {
                    separated = true;
                } else {
                    comment = comment_of(line);
                    // a line right after a comment does not continue a paragraph
                    separated = comment.is_some();
                }
                if comment == Some("ctrl-c") {
                    document.steps.push(Step::CtrlC);
                    comment = None;
                }
                continue;
            };
            let mark = mark(comment.take()).map_err(|message| format!("line {number}: {message}"))?;
            if matches!(mark, Mark::Run | Mark::Stays(_)) && !["", "sh", "bash"].contains(&language.as_str()) {
                return Err(format!("line {number}: a block of {language} needs a comment"));
            }
            document.steps.push(Step::Block(Block { line: number, mark, text: body.join("\n") }));
            (at, separated) = (next, true);
        }
        Ok(document)
    }

    /// All blocks.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.steps.iter().filter_map(|step| match step {
            Step::Block(block) => Some(block),
            Step::CtrlC => None,
        })
    }

    /// The targets of all links with their line numbers.
    pub fn links(&self) -> Vec<(usize, String)> {
        let of_line = |(number, line): &(usize, String)| {
            let line = without_code(line);
            let targets = line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
            targets.map(|target| (*number, target)).collect::<Vec<_>>()
        };
        self.prose.iter().flat_map(of_line).collect()
    }

    /// All inline code with its line numbers.
    pub fn code(&self) -> Vec<(usize, String)> {
        let of_line = |(number, line): &(usize, String)| {
            line.split('`').skip(1).step_by(2).map(|code| (*number, code.to_owned())).collect::<Vec<_>>()
        };
        self.prose.iter().flat_map(of_line).collect()
    }

    /// The anchors of all headings.
    pub fn anchors(&self) -> BTreeSet<String> {
        self.prose.iter().filter_map(|(_, line)| heading(line)).map(anchor).collect()
    }

    /// The rows of the first table below a heading, without the header; empty if there is no table.
    pub fn table(&self, below: &str) -> Vec<Vec<String>> {
        let section = self.prose.iter().map(|(_, line)| line).skip_while(|line| heading(line) != Some(below)).skip(1);
        section
            .take_while(|line| heading(line).is_none())
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .skip(2)
            .map(|line| cells(line))
            .collect()
    }
}

/// The opening line of a fenced block.
struct Fence {
    indent: usize,
    mark: char,
    length: usize,
    language: String,
}

impl Fence {
    fn open(line: &str) -> Option<Self> {
        let rest = line.trim_start_matches(' ');
        let indent = line.len() - rest.len();
        let mark = rest.chars().next().filter(|mark| ['`', '~'].contains(mark))?;
        let length = rest.chars().take_while(|character| *character == mark).count();
        let language = rest[length..].trim().to_owned();
        (indent < 4 && length >= 3 && !language.contains('`')).then_some(Self { indent, mark, length, language })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let line = line.trim();
        line.len() >= self.length && line.chars().all(|character| character == self.mark)
    }

    /// Removes the fence's indentation from a line of the block.
    fn strip<'a>(&self, line: &'a str) -> &'a str {
        let spaces = line.chars().take(self.indent).take_while(|character| *character == ' ').count();
        &line[spaces..]
    }
}

fn is_indented(line: &str) -> bool {
    line.starts_with("    ") && !line.trim().is_empty()
}

/// The end of an indented block: the line after its last non-blank one.
fn indented_end(lines: &[&str], start: usize) -> usize {
    let mut end = start;
    for (at, line) in lines.iter().enumerate().skip(start) {
        if is_indented(line) {
            end = at + 1;
        } else if !line.trim().is_empty() {
            break;
        }
    }
    end
}

fn comment_of(line: &str) -> Option<&str> {
    Some(line.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim())
}

fn mark(comment: Option<&str>) -> Result<Mark, String> {
    let Some(comment) = comment else { return Ok(Mark::Run) };
    if comment == "illustration" {
        return Ok(Mark::Illustration);
    }
    let known =
        [("stays, answers at ", Mark::Stays as fn(String) -> Mark), ("needs: ", Mark::Needs), ("from: ", Mark::From)];
    known
        .into_iter()
        .find_map(|(prefix, mark)| Some(mark(comment.strip_prefix(prefix)?.trim().to_owned())))
        .ok_or_else(|| format!("unknown comment before the block: {comment}"))
}

fn heading(line: &str) -> Option<&str> {
    let title = line.trim_start_matches('#');
    (1..=6).contains(&(line.len() - title.len())).then(|| title.strip_prefix(' ')).flatten().map(str::trim)
}

fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.map(|character| if character == ' ' { '-' } else { character.to_ascii_lowercase() }).collect()
}

/// Replaces the rows of the table below a heading; `None` if there is no such table.
pub fn with_table(text: &str, below: &str, rows: &[Vec<String>]) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let section = lines.iter().position(|line| heading(line) == Some(below))? + 1;
    let start = section + lines[section..].iter().position(|line| line.starts_with('|'))? + 2;
    let end = start + lines.get(start..)?.iter().take_while(|line| line.starts_with('|')).count();
    let cell =
        |cell: &String| if cell.is_empty() { " |".to_owned() } else { format!(" {} |", cell.replace('|', "\\|")) };
    let rows = rows.iter().map(|row| format!("|{}", row.iter().map(cell).collect::<String>()));
    let before = lines[..start].iter().map(|line| (*line).to_owned());
    let after = lines[end..].iter().map(|line| (*line).to_owned());
    Some(before.chain(rows).chain(after).collect::<Vec<_>>().join("\n") + "\n")
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|').replace("\\|", "\u{0}");
    let row = row.strip_suffix('|').unwrap_or(&row);
    row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks_and_texts(text: &str) -> Vec<(Mark, String)> {
        let document = Document::parse(text).unwrap();
        document.blocks().map(|block| (block.mark.clone(), block.text.clone())).collect()
    }

    #[test]
    fn blocks_are_found_fenced_and_indented() {
        let text = "a\n\n    one\n\n      two\n\nb\n    not a block\n\n~~~sh\n```\nthree\n~~~\n  ```\n  four\n  ```\n";
        let texts: Vec<_> = marks_and_texts(text).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["one\n\n  two", "```\nthree", "four"]);
        let lines: Vec<_> = Document::parse(text).unwrap().blocks().map(|block| block.line).collect();
        assert_eq!(lines, [3, 10, 14]);
    }

    #[test]
    fn a_comment_applies_to_the_block_right_after_it() {
        let text = "<!-- illustration -->\n\n    a\n\n    b\n\ntext\n\n    c\n\n<!-- illustration -->\ntext\n\n    d\n";
        let marks: Vec<_> = marks_and_texts(text).into_iter().map(|(mark, _)| mark).collect();
        assert_eq!(marks, [Mark::Illustration, Mark::Run, Mark::Run]);
        let text = "<!-- needs: docker -->\n```sh\na\n```\n<!-- stays, answers at http://x/y -->\n\n    b\n<!-- from: c/d.rs -->\n```rust\ne\n```\n";
        let marks: Vec<_> = marks_and_texts(text).into_iter().map(|(mark, _)| mark).collect();
        let expected =
            [Mark::Needs("docker".to_owned()), Mark::Stays("http://x/y".to_owned()), Mark::From("c/d.rs".to_owned())];
        assert_eq!(marks, expected);
    }

    #[test]
    fn ctrl_c_is_a_step() {
        let steps = Document::parse("    a\n\n<!-- ctrl-c -->\n\n    b\n").unwrap().steps;
        assert!(matches!(&steps[..], [Step::Block(_), Step::CtrlC, Step::Block(Block { mark: Mark::Run, .. })]));
    }

    #[test]
    fn ambiguous_input_is_an_error() {
        for (text, message) in [
            ("```sh\na\n", "line 1: the fence is not closed"),
            ("<!-- todo -->\n\n    a\n", "line 3: unknown comment before the block: todo"),
            ("x\n\n```rust\na\n```\n", "line 3: a block of rust needs a comment"),
        ] {
            assert_eq!(Document::parse(text).unwrap_err(), message, "{text:?}");
        }
    }

    #[test]
    fn links_code_and_anchors_are_taken_from_prose() {
        let text = "# A b: `c`!\n[x](y/z.md) and `[n](o)` and [`w`](#a-b-c)\n\n    [p](q)\n";
        let document = Document::parse(text).unwrap();
        assert_eq!(document.links(), [(2, "y/z.md".to_owned()), (2, "#a-b-c".to_owned())]);
        assert_eq!(document.code()[0], (1, "c".to_owned()));
        assert_eq!(document.anchors(), ["a-b-c".to_owned()].into());
    }

    #[test]
    fn a_table_is_found_by_its_heading() {
        let text = "## A\n\n| h |\n| - |\n| no |\n\n## B\n\ntext\n\n| h | i |\n| - | - |\n| `a` | b \\| c |\n| d | |\n\n| e |\n";
        let rows = Document::parse(text).unwrap().table("B");
        assert_eq!(rows, [["`a`".to_owned(), "b | c".to_owned()], ["d".to_owned(), String::new()]]);
        assert!(Document::parse(text).unwrap().table("C").is_empty());
    }

    #[test]
    fn only_the_table_below_the_heading_is_replaced() {
        let text = "## A\n\n| h |\n| - |\n| no |\n\n## B\n\n| h | i |\n| - | - |\n| a | b |\n\ntext\n";
        let rows = [vec!["x | y".to_owned(), String::new()]];
        let replaced = with_table(text, "B", &rows).unwrap();
        assert_eq!(replaced, text.replace("| a | b |", "| x \\| y | |"));
        assert_eq!(Document::parse(&replaced).unwrap().table("B"), rows);
        assert_eq!(with_table(text, "C", &rows), None);
    }
}
