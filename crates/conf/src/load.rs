//! A configuration from its files: includes read, blocks named, nothing applied to a jail yet.

use std::{collections::HashMap, io};

use crate::{
    Report, glob,
    parser::{LONGEST_NAME, parse},
    pattern,
    problem::{Problem, Problems, Shown},
    source::{FileId, Place, Sources, Span},
    tree::{self, Definition, Include, Item, Part, Word},
};

/// How deep files include files, as in FreeBSD.
const DEEPEST_INCLUDE: usize = 32;
/// How many files are asked for, each as often as it is included, and patterns for them.
const MOST_FILES: usize = 65_536;
/// How many bytes all files of a configuration have together. What has more is refused, so that a caller need read no
/// further: a name may be that of a file without an end.
pub const MOST_BYTES: usize = 32 << 20;

/// Where the texts of included files come from.
pub trait Loader {
    /// The text of a file; of one that is longer than [`MOST_BYTES`], any part that is longer, too.
    ///
    /// # Errors
    /// It cannot be read, which is reported at the place of its name.
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>>;

    /// The files that a pattern stands for ([`glob`]), sorted by name. There may be none.
    ///
    /// # Errors
    /// A directory cannot be read, which is reported at the place of the pattern.
    fn glob(&mut self, pattern: &str) -> io::Result<Vec<String>>;
}

/// A configuration. It has been read whole and is free of errors that do not depend on a jail.
#[derive(Debug)]
pub struct Conf {
    pub(crate) sources: Sources,
    /// In the order of their names in the files. Definitions outside of any are in blocks named `*`.
    pub(crate) blocks: Vec<Block>,
    pub(crate) patterns: pattern::Index,
    /// Which of the blocks are jails.
    pub(crate) jails: Vec<usize>,
}

/// What one block of a file says, without those in it.
#[derive(Debug)]
pub(crate) struct Block {
    /// Its whole name, as a value.
    pub name: Word,
    pub definitions: Vec<Definition>,
    /// The place of another block of the same name.
    pub twin: Option<Span>,
}

impl Block {
    fn new(name: String, span: Span) -> Self {
        let name = Word { parts: vec![Part::Text(name)], span };
        Self { name, definitions: Vec::new(), twin: None }
    }

    pub(crate) fn name(&self) -> &str {
        self.name.text().unwrap_or_default()
    }
}

impl Conf {
    /// Reads a configuration from the text of a file and of those that it includes. What is included is relative to
    /// the directory in `name`, which is also what messages call the file; jail(8) says `STDIN` for its standard input.
    ///
    /// # Errors
    /// All that is wrong with all files.
    pub fn load(name: &str, text: Vec<u8>, loader: &mut dyn Loader) -> Result<Self, Report> {
        let mut reading = Reading {
            loader,
            sources: Sources::default(),
            problems: Problems::default(),
            blocks: Vec::new(),
            bytes: 0,
            asked: 0,
            full: false,
            outside: None,
        };
        let file = reading.sources.add(name.to_owned(), text);
        reading.file(file, None, 0);
        let Reading { sources, problems, mut blocks, .. } = reading;
        if !problems.is_empty() {
            return Err(Report::new(problems, sources));
        }
        let (mut patterns, mut jails) = (pattern::Index::default(), Vec::new());
        let mut twins: Vec<(usize, Span)> = Vec::new();
        let mut firsts: HashMap<&str, usize> = HashMap::new();
        for (number, block) in blocks.iter().enumerate() {
            if pattern::is_pattern(block.name()) {
                patterns.add(block.name(), number);
                continue;
            }
            jails.push(number);
            if let Some(first) = firsts.insert(block.name(), number) {
                twins.extend([(first, block.name.span), (number, blocks[first].name.span)]);
            }
        }
        for (number, twin) in twins {
            blocks[number].twin = Some(twin);
        }
        Ok(Self { sources, blocks, patterns, jails })
    }

    /// The names of the jails, in the order of the files; blocks for several jails are not among them.
    pub fn jails(&self) -> impl ExactSizeIterator<Item = &str> {
        self.jails.iter().map(|number| self.blocks[*number].name())
    }

    /// Where a span begins.
    #[must_use]
    pub fn place(&self, span: Span) -> Place<'_> {
        self.sources.place(span)
    }

    /// A problem of a jail, to be shown.
    #[must_use]
    pub fn show<'s>(&'s self, problem: &'s Problem) -> Shown<'s> {
        Shown::new(problem, &self.sources)
    }
}

/// Files being read.
struct Reading<'l> {
    loader: &'l mut dyn Loader,
    sources: Sources,
    problems: Problems,
    blocks: Vec<Block>,
    bytes: usize,
    /// How often the loader was asked for something.
    asked: usize,
    /// Whether a limit was met, so that nothing more is included.
    full: bool,
    /// The block that what is outside of any goes to: the last one, if that is such a block.
    outside: Option<usize>,
}

impl Reading<'_> {
    /// Reads a text whose statements belong to a block, or are outside of any.
    fn file(&mut self, file: FileId, block: Option<usize>, depth: usize) {
        let text = self.sources.take(file);
        self.bytes += text.len();
        if self.bytes > MOST_BYTES {
            let message = format!("more than {} MB with what is before it", MOST_BYTES >> 20);
            self.problems.push(Problem::of_file(file.span(0, 0), message));
            self.full = true;
            return;
        }
        let tree = parse(file, &text, &mut self.problems);
        self.sources.put(file, text);
        self.items(tree.items, block, depth);
    }

    fn items(&mut self, items: Vec<Item>, block: Option<usize>, depth: usize) {
        for item in items {
            match item {
                Item::Definition(definition) => {
                    let block = match block {
                        Some(block) => block,
                        None => self.outside(definition.span),
                    };
                    self.blocks[block].definitions.push(definition);
                }
                Item::Block(inner) => self.block(inner, block, depth),
                Item::Include(include) => self.include(&include, block, depth),
            }
        }
    }

    /// The block for a definition that is in none. Those before a jail and those behind it are two, since both apply
    /// by their places.
    fn outside(&mut self, span: Span) -> usize {
        let last = self.blocks.len();
        match self.outside {
            Some(block) if block + 1 == last => block,
            _ => {
                self.blocks.push(Block::new("*".to_owned(), span));
                self.outside = Some(last);
                last
            }
        }
    }

    fn block(&mut self, inner: tree::Block, outer: Option<usize>, depth: usize) {
        let outer = outer.map(|number| self.blocks[number].name());
        let length = outer.map_or(0, |name| name.len() + 1) + inner.name.len();
        let message = if inner.name.is_empty() {
            "a jail without a name".to_owned()
        } else if length > LONGEST_NAME {
            format!("a jail's name is longer than {LONGEST_NAME} bytes")
        } else {
            let name = outer.map_or_else(String::new, |name| format!("{name}."));
            let number = self.blocks.len();
            self.blocks.push(Block::new(name + &inner.name, inner.span));
            return self.items(inner.items, Some(number), depth);
        };
        self.problems.push(Problem::at_line(inner.span, message));
    }

    fn include(&mut self, include: &Include, block: Option<usize>, depth: usize) {
        for (name, span) in &include.names {
            let is_pattern = glob::is_pattern(name);
            if is_pattern && !self.may_ask(*span) {
                return;
            }
            let directory = match self.sources.name(span.file).rfind('/') {
                Some(slash) if !name.starts_with('/') => &self.sources.name(span.file)[..=slash],
                _ => "",
            };
            let files = if is_pattern {
                self.loader.glob(&format!("{}{name}", glob::quote(directory)))
            } else {
                Ok(vec![format!("{directory}{name}")])
            };
            match files {
                Ok(files) => files.into_iter().for_each(|file| self.included(file, *span, block, depth)),
                Err(error) => self.unreadable(name, *span, &error),
            }
        }
    }

    /// Whether the loader may be asked once more; that it may not is reported once.
    fn may_ask(&mut self, span: Span) -> bool {
        self.asked += 1;
        if self.asked > MOST_FILES && !self.full {
            self.problems.push(Problem::at_line(span, format!("more than {MOST_FILES} files included")));
            self.full = true;
        }
        !self.full
    }

    fn included(&mut self, name: String, span: Span, block: Option<usize>, depth: usize) {
        if !self.may_ask(span) {
            return;
        }
        if depth == DEEPEST_INCLUDE {
            self.problems.push(Problem::at_line(span, "maximum include depth exceeded"));
            self.full = true;
            return;
        }
        match self.loader.read(&name) {
            Ok(text) => {
                let file = self.sources.add(name, text);
                self.file(file, block, depth + 1);
            }
            Err(error) => self.unreadable(&name, span, &error),
        }
    }

    fn unreadable(&mut self, name: &str, span: Span, error: &io::Error) {
        let text = error.to_string();
        // The number says nothing to a reader that the words do not.
        let text = text.split(" (os error ").next().unwrap_or(&text);
        self.problems.push(Problem::plain(span, format!("{name}: {text}")));
    }
}
