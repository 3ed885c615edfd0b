//! Tokens to statements, as usr.sbin/jail/jailparse.y of FreeBSD does it, but for one thing: it goes on behind what
//! is wrong, at the next `;` or `}`, so that all of it is reported.

use crate::{
    lexer::{Kind, Lexer, MANY_LINES, Token},
    problem::{Problem, Problems},
    source::{FileId, Span},
    tree::{Block, Definition, Include, Item, Part, Tree, Word},
};

/// How deep blocks are nested. A jail's name has at most 255 bytes, of which each level takes two.
pub(crate) const DEEPEST: usize = 128;
/// How many bytes the name of a jail, as in FreeBSD, of a parameter or of a variable has.
pub(crate) const LONGEST_NAME: usize = 255;

// What is in blocks is worked on by functions that call themselves.
const _: () = assert!(LONGEST_NAME / 2 < DEEPEST);

/// Reads a text. What is wrong is added to the problems, and the tree has the rest.
pub(crate) fn parse(file: FileId, text: &[u8], problems: &mut Problems) -> Tree {
    let mut lexer = Lexer::new(file, text);
    let next = lexer.next(problems);
    let mut parser = Parser { lexer, next, problems, ended: false };
    let mut items = Vec::new();
    loop {
        items.extend(parser.statements(0));
        match parser.next.kind {
            Kind::End => return Tree { items },
            // One that closes nothing.
            _ => parser.unexpected(&[]),
        }
        parser.advance();
    }
}

struct Parser<'t, 'p> {
    lexer: Lexer<'t>,
    next: Token,
    problems: &'p mut Problems,
    /// Whether it was reported that the end came too early.
    ended: bool,
}

/// Why a statement was not read to its end.
enum Failed {
    /// The token that is next does not belong there.
    Unexpected,
    /// It was reported.
    Reported,
}

impl Parser<'_, '_> {
    fn advance(&mut self) -> Token {
        let next = self.lexer.next(self.problems);
        std::mem::replace(&mut self.next, next)
    }

    /// Statements up to a `}`, which stays, or to the end.
    fn statements(&mut self, depth: usize) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            match self.next.kind {
                Kind::End | Kind::Close => return items,
                Kind::Semicolon => {
                    self.advance();
                }
                _ => {
                    // The tokens of the statement, of which a long string may explain what is wrong.
                    let mut words = Vec::new();
                    match self.statement(depth, &mut words) {
                        Ok(item) => items.extend(item),
                        Err(Failed::Reported) => self.recover(depth),
                        Err(Failed::Unexpected) => {
                            self.unexpected(&words);
                            self.recover(depth);
                        }
                    }
                }
            }
        }
    }

    /// One statement with its `;` or `}`. `None`: a block that was reported.
    fn statement(&mut self, depth: usize, words: &mut Vec<Span>) -> Result<Option<Item>, Failed> {
        let name = self.word(words)?;
        let span = name.span;
        let (text, variable) = match &*name.parts {
            [Part::Variable { name, .. }] => (name.clone(), true),
            _ => (name.text().ok_or_else(|| self.misnamed(span))?.to_owned(), false),
        };
        if text.len() > LONGEST_NAME && self.next.kind != Kind::Open {
            let message = format!("a name is longer than {LONGEST_NAME} bytes");
            self.problems.push(Problem::at_line(span, message));
            return Err(Failed::Reported);
        }
        match self.next.kind {
            Kind::Open if variable => Err(Failed::Unexpected),
            Kind::Open => Ok(self.block(depth, text, span).map(Item::Block)),
            Kind::Semicolon => {
                self.advance();
                let values = Vec::new();
                Ok(Some(Item::Definition(Definition { name: text, variable, span, append: false, values })))
            }
            Kind::Equals | Kind::Append => {
                let append = self.advance().kind == Kind::Append;
                let values = self.values(words)?;
                Ok(Some(Item::Definition(Definition { name: text, variable, span, append, values })))
            }
            // As FreeBSD does, `name value;` is taken for `name = value;`.
            Kind::Word(_) | Kind::Broken => {
                let values = self.values(words)?;
                if variable || text != ".include" {
                    let append = false;
                    return Ok(Some(Item::Definition(Definition {
                        name: text,
                        variable,
                        span,
                        append,
                        values,
                    })));
                }
                let names = values.into_iter().filter_map(|word| self.file_name(word)).collect();
                Ok(Some(Item::Include(Include { names })))
            }
            _ => Err(Failed::Unexpected),
        }
    }

    fn word(&mut self, words: &mut Vec<Span>) -> Result<Word, Failed> {
        if !matches!(self.next.kind, Kind::Word(_) | Kind::Broken) {
            return Err(Failed::Unexpected);
        }
        let token = self.advance();
        words.push(token.span);
        match token.kind {
            Kind::Word(word) => Ok(word),
            _ => Err(Failed::Reported),
        }
    }

    fn values(&mut self, words: &mut Vec<Span>) -> Result<Vec<Word>, Failed> {
        let mut values = vec![self.word(words)?];
        loop {
            match self.next.kind {
                Kind::Semicolon => {
                    self.advance();
                    return Ok(values);
                }
                Kind::Comma => {
                    self.advance();
                    values.push(self.word(words)?);
                }
                _ => return Err(Failed::Unexpected),
            }
        }
    }

    fn file_name(&mut self, word: Word) -> Option<(String, Span)> {
        if let Some(text) = word.text() {
            return Some((text.to_owned(), word.span));
        }
        let message = "variables not permitted in '.include' filename";
        self.problems.push(Problem::at_line(word.span, message));
        None
    }

    /// A block from its `{` on. `None`: one too deep, which was reported.
    fn block(&mut self, depth: usize, name: String, span: Span) -> Option<Block> {
        self.advance();
        if depth == DEEPEST {
            let message = format!("blocks nested more than {DEEPEST} deep");
            self.problems.push(Problem::at_line(span, message));
            self.skip_block();
            return None;
        }
        let items = self.statements(depth + 1);
        if self.next.kind == Kind::Close {
            self.advance();
        } else if depth == 0 && !std::mem::replace(&mut self.ended, true) {
            let block = self.lexer.quote(span);
            let problem = Problem::of_file(span, "unexpected EOF");
            self.problems.push(problem.hint(format!("the block of {block} is not closed")));
        }
        Some(Block { name, span, items })
    }

    /// Reads on behind the `}` of a block whose `{` was read, however deep.
    fn skip_block(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.advance().kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                Kind::End => return,
                _ => {}
            }
        }
    }

    /// Reads on behind the next `;`, up to the next `}`, or over a block.
    fn recover(&mut self, depth: usize) {
        loop {
            match self.next.kind {
                Kind::End | Kind::Close => return,
                Kind::Semicolon => {
                    self.advance();
                    return;
                }
                Kind::Open => {
                    let span = self.next.span;
                    // For what is wrong in it.
                    self.block(depth, String::new(), span);
                    return;
                }
                _ => {
                    self.advance();
                }
            }
        }
    }

    fn misnamed(&mut self, span: Span) -> Failed {
        let message = format!("{}: syntax error", self.lexer.quote(span));
        self.problems.push(Problem::at_line(span, message).hint("a name has no variable in it"));
        Failed::Reported
    }

    /// Reports that the next token does not belong behind the words of its statement.
    fn unexpected(&mut self, words: &[Span]) {
        let span = self.next.span;
        let problem = match self.next.kind {
            Kind::End => {
                self.ended = true;
                Problem::of_file(span, "unexpected EOF")
            }
            _ => Problem::at_line(span, format!("{}: syntax error", self.lexer.quote(span))),
        };
        let hint = match self.next.kind {
            Kind::Stray => Some("put it in quotes"),
            _ if words.iter().any(|span| self.lexer.has_lines(*span)) => Some(MANY_LINES),
            Kind::Close if words.is_empty() => Some("it closes nothing"),
            Kind::Close | Kind::End => Some("a statement ends with ;"),
            _ => None,
        };
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }
}
