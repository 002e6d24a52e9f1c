//! A source file as the rules see it: its text, its place in the tree of modules, its tokens.
//!
//! Tokens leave comments, strings and characters out, and each knows whether it ships: what stands under a
//! `#[cfg(test)]`, and what only the model checker compiles, is no part of the product.

use std::ops::RangeInclusive;

/// A name, `::` or a single other character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    pub line: usize,
    pub text: &'t str,
    pub ships: bool,
}

/// One file.
#[derive(Debug)]
pub struct Source<'t> {
    /// From the root of the repository: `src/sip/uri.rs`.
    pub name: &'t str,
    pub text: &'t str,
    /// `None` for `src/lib.rs` (the list of rooms), tests and benches.
    pub module: Option<Module<'t>>,
    pub tokens: Vec<Token<'t>>,
    /// Lines that do not ship.
    test_lines: Vec<RangeInclusive<usize>>,
}

/// Where in the tree of modules a file stands.
#[derive(Clone, Debug)]
pub struct Module<'t> {
    pub room: &'t str,
    /// Names from the crate's root, without it: `["modules", "xlog"]`.
    pub path: Vec<&'t str>,
    pub is_list_file: bool,
}

impl<'t> Source<'t> {
    pub fn of(name: &'t str, text: &'t str) -> Source<'t> {
        let mut tokens = tokens(text);
        let test_lines = mark_tests(&mut tokens);
        Source { name, text, module: Module::of(name), tokens, test_lines }
    }

    /// The name of the folder the file lies in.
    pub fn folder(&self) -> &'t str {
        self.name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    pub fn token_text(&self, index: usize) -> &'t str {
        self.tokens.get(index).map_or("", |token| token.text)
    }

    pub fn shipped(&self) -> impl Iterator<Item = (usize, &Token<'t>)> {
        self.tokens.iter().enumerate().filter(|(_, token)| token.ships)
    }

    /// Lines that are neither empty nor test code.
    pub fn product_line_count(&self) -> usize {
        let is_test = |line: usize| self.test_lines.iter().any(|range| range.contains(&line));
        let lines = self.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines.filter(|(index, _)| !is_test(index + 1)).count()
    }

    fn is_test_from_here_on(&mut self) {
        self.tokens.iter_mut().for_each(|token| token.ships = false);
        self.test_lines = vec![1..=usize::MAX];
    }
}

impl<'t> Module<'t> {
    fn of(name: &'t str) -> Option<Module<'t>> {
        let inside = name.strip_prefix("src/")?.strip_suffix(".rs")?;
        let mut path: Vec<&str> = inside.split('/').collect();
        if path.len() < 2 {
            return None;
        }
        let is_list_file = path.last() == Some(&"mod");
        if is_list_file {
            path.pop();
        }
        Some(Module { room: path[0], path, is_list_file })
    }

    pub fn is_program(&self) -> bool {
        self.room == "bin"
    }

    /// What the floors call it: its room, or the program's own name.
    pub fn floor_name(&self) -> &'t str {
        if self.is_program() { self.path[1] } else { self.room }
    }
}

/// Files that a test module declares (`#[cfg(test)] mod tests;`) do not ship either, nor what lies below them.
pub fn mark_test_files(sources: &mut [Source<'_>]) {
    let mut test_modules: Vec<Vec<String>> = Vec::new();
    for source in sources.iter() {
        let Some(module) = &source.module else { continue };
        for (index, token) in source.tokens.iter().enumerate() {
            if !token.ships && token.text == "mod" && source.token_text(index + 2) == ";" {
                let names = module.path.iter().copied().chain([source.token_text(index + 1)]);
                test_modules.push(names.map(str::to_string).collect());
            }
        }
    }
    for source in sources {
        let path = source.module.as_ref().map_or(&[][..], |module| &module.path);
        if test_modules.iter().any(|test| path.len() >= test.len() && path[..test.len()] == test[..]) {
            source.is_test_from_here_on();
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Text to tokens.

pub fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::with_capacity(bytes.len() / 6);
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        if let Some(end) = skipped_end(bytes, at) {
            line += bytes[at..end].iter().filter(|byte| **byte == b'\n').count();
            at = end;
            continue;
        }
        let size = match bytes[at..] {
            [first, ..] if is_name_byte(first) => {
                bytes[at..].iter().take_while(|b| is_name_byte(**b)).count()
            }
            [b':', b':', ..] => 2,
            _ => 1,
        };
        if !bytes[at].is_ascii_whitespace() {
            found.push(Token { line, text: &text[at..at + size], ships: true });
        } else if bytes[at] == b'\n' {
            line += 1;
        }
        at += size;
    }
    found
}

/// Where the comment or literal that starts at `at` ends, if one starts there.
fn skipped_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes[at..] {
        [b'/', b'/', ..] => Some(find_from(bytes, at, b'\n')),
        [b'/', b'*', ..] => Some(block_comment_end(bytes, at)),
        [b'"', ..] => Some(string_end(bytes, at + 1)),
        [b'b' | b'c', b'"', ..] => Some(string_end(bytes, at + 2)),
        [b'r', b'"' | b'#', ..] => raw_string_end(bytes, at + 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] => raw_string_end(bytes, at + 2),
        [b'\'', ..] => character_end(bytes, at),
        [b'b', b'\'', ..] => character_end(bytes, at + 1),
        _ => None,
    }
}

fn find_from(bytes: &[u8], from: usize, byte: u8) -> usize {
    let found = bytes.get(from..).and_then(|rest| rest.iter().position(|other| *other == byte));
    found.map_or(bytes.len(), |offset| from + offset)
}

/// `'x'` and `'\n'`, but not the lifetime `'x`.
fn character_end(bytes: &[u8], quote: usize) -> Option<usize> {
    if bytes.get(quote + 1) == Some(&b'\\') {
        return Some((find_from(bytes, quote + 3, b'\'') + 1).min(bytes.len()));
    }
    let is_rest_of_char = |byte: &u8| (0x80..0xc0).contains(byte);
    let rest = bytes.get(quote + 2..)?;
    let size = rest.iter().take_while(|byte| is_rest_of_char(byte)).count();
    (rest.get(size) == Some(&b'\'')).then_some(quote + 2 + size + 1)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let hash_count = bytes[start..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(start + hash_count) != Some(&b'"') {
        return None;
    }
    let mut at = start + hash_count + 1;
    while at < bytes.len() {
        let quote = find_from(bytes, at, b'"');
        at = (quote + 1 + hash_count).min(bytes.len());
        if bytes[(quote + 1).min(at)..at].iter().all(|byte| *byte == b'#') {
            break;
        }
        at = quote + 1;
    }
    Some(at)
}

// ---------------------------------------------------------------------------------------------------------------
// What ships.

/// Conditions that no build of the product has.
const NEVER_SHIPS: &[&str] = &["test", "loom", "mutant"];

/// Marks what stands under a condition that no product has; the lines of it.
fn mark_tests(tokens: &mut [Token<'_>]) -> Vec<RangeInclusive<usize>> {
    let mut lines = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let texts: Vec<&str> = tokens[at..].iter().take(5).map(|token| token.text).collect();
        let end = match texts[..] {
            ["#", "[", "cfg", "(", ..] if !may_ship(&tokens[at + 4..]) => item_end(tokens, at),
            ["#", "!", "[", "cfg", "("] if !may_ship(&tokens[at + 5..]) => tokens.len(),
            _ => {
                at += 1;
                continue;
            }
        };
        tokens[at..end].iter_mut().for_each(|token| token.ships = false);
        lines.push(tokens[at].line..=tokens[end - 1].line);
        at = end;
    }
    lines
}

/// Whether a build of the product may fulfil the condition at the start of `tokens`.
fn may_ship(tokens: &[Token<'_>]) -> bool {
    outcomes(tokens).0.contains(&true)
}

/// What the condition at the start of `tokens` may come to in builds of the product, and how many tokens it takes.
fn outcomes(tokens: &[Token<'_>]) -> (Vec<bool>, usize) {
    let text_at = |index: usize| tokens.get(index).map_or(")", |token| token.text);
    if text_at(1) != "(" {
        let size = (0..).find(|index| matches!(text_at(*index), "," | ")")).unwrap_or(0);
        return (if NEVER_SHIPS.contains(&text_at(0)) { vec![false] } else { vec![true, false] }, size);
    }
    let mut parts = Vec::new();
    let mut at = 2;
    while text_at(at) != ")" {
        let (part, size) = outcomes(&tokens[at..]);
        parts.push(part);
        at += size + usize::from(text_at(at + size) == ",");
    }
    let may = |value: bool| {
        let some = parts.iter().any(|part| part.contains(&value));
        let every = parts.iter().all(|part| part.contains(&value));
        match (text_at(0), value) {
            ("all", true) | ("any", false) => every,
            ("not", _) => parts.iter().any(|part| part.contains(&!value)),
            _ => some,
        }
    };
    ([true, false].into_iter().filter(|value| may(*value)).collect(), at + 1)
}

/// One past the item, field, arm or statement whose attributes start at `start`.
fn item_end(tokens: &[Token<'_>], start: usize) -> usize {
    let text_at = |index: usize| tokens.get(index).map_or("", |token| token.text);
    let mut at = start;
    while text_at(at) == "#" {
        at = closing(tokens, at + 1) + 1;
    }
    let is_item = matches!(
        text_at(at),
        "pub"
            | "fn"
            | "mod"
            | "impl"
            | "struct"
            | "enum"
            | "trait"
            | "unsafe"
            | "async"
            | "extern"
            | "macro_rules"
    );
    let ends_with_semicolon = matches!(text_at(at), "use" | "const" | "static" | "type" | "let")
        || (at..at + 6).any(|index| text_at(index) == "use");
    while at < tokens.len() {
        match text_at(at) {
            "(" | "[" => at = closing(tokens, at),
            "{" if ends_with_semicolon => at = closing(tokens, at),
            "{" => return (closing(tokens, at) + 1).min(tokens.len()),
            ";" => return at + 1,
            "," if !is_item && !ends_with_semicolon => return at + 1,
            ")" | "]" | "}" => return at,
            _ => {}
        }
        at += 1;
    }
    tokens.len()
}

/// The index of the bracket that closes the one at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len().saturating_sub(1)
}

// ---------------------------------------------------------------------------------------------------------------

#[track_caller]
fn check(text: &str, expected: &str) {
    let source = Source::of("src/sip/uri.rs", text);
    let shown: Vec<&str> = source.shipped().map(|(_, token)| token.text).collect();
    assert_eq!(shown.join(" "), expected, "{text}");
}

#[test]
fn comments_strings_and_characters_are_no_tokens() {
    let rows = [
        ("a::b(c)", "a :: b ( c )"),
        ("a // b\nc", "a c"),
        ("a /* b /* c */ d */ e", "a e"),
        ("a \"b \\\" c\" d", "a d"),
        (r###"a r#"b " c"# d br"e\" f c"g""###, "a d f"),
        (r"a '\'' b '\\' c 'd' e 'ä' f b'g' h", "a b c e f h"),
        ("a<'b>(c: &'b d)", "a < ' b > ( c : & ' b d )"),
        ("\"a\nb\"\n/*\n*/c", "c"),
        ("\"never closed", ""),
        ("r#\"never closed\"", ""),
    ];
    for (text, expected) in rows {
        check(text, expected);
    }
    let source = Source::of("src/sip/uri.rs", "\"a\nb\"\n/*\n*/c\nd");
    assert_eq!(source.tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn what_only_tests_and_the_model_compile_does_not_ship() {
    let rows = [
        ("#[cfg(test)] mod tests { a } b", "b"),
        ("#[cfg(all(test, not(loom)))] mod tests { a } b", "b"),
        ("#[cfg(any(test, loom))] fn a() {} b", "b"),
        ("#[cfg(test)] #[x(y)] pub fn a<T, U>(b: [u8; 2]) -> c { d } e", "e"),
        ("#[cfg(test)] use a::{b, c}; d", "d"),
        ("#[cfg(test)] pub(crate) use a::{b, c}; d", "d"),
        ("#[cfg(test)] const A: [u8; 2] = [1, 2]; d", "d"),
        ("{ #[cfg(test)] a: b, c }", "{ c }"),
        ("{ #[cfg(test)] a: b }", "{ }"),
        ("#![cfg(test)] a", ""),
    ];
    for (text, expected) in rows {
        check(text, expected);
    }
}

#[test]
fn what_some_build_of_the_product_compiles_ships() {
    let rows = [
        ("#[cfg(not(test))] a", "# [ cfg ( not ( test ) ) ] a"),
        ("#[cfg(any(test, unix))] a", "# [ cfg ( any ( test , unix ) ) ] a"),
        ("#[cfg(feature = \"x\")] a", "# [ cfg ( feature = ) ] a"),
        ("#[cfg(not(any(loom, feature = \"x\")))] a", "# [ cfg ( not ( any ( loom , feature = ) ) ) ] a"),
        ("// #[cfg(test)]\na", "a"),
    ];
    for (text, expected) in rows {
        check(text, expected);
    }
}

#[test]
fn product_lines_are_counted_without_blanks_and_tests() {
    let text = "//! Head.\n\nfn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\n\nfn c() {}\n";
    assert_eq!(Source::of("src/sip/uri.rs", text).product_line_count(), 3);
}

#[test]
fn a_file_that_a_test_module_declares_does_not_ship() {
    let mut sources = [
        Source::of("src/sip/uri.rs", "#[cfg(test)] mod tests; mod parts;"),
        Source::of("src/sip/uri/tests.rs", "fn a() {}"),
        Source::of("src/sip/uri/tests/more.rs", "fn a() {}"),
        Source::of("src/sip/uri/parts.rs", "fn a() {}"),
        Source::of("src/sip/tests.rs", "fn a() {}"),
    ];
    mark_test_files(&mut sources);
    let ships: Vec<bool> = sources.iter().map(|source| source.shipped().count() > 0).collect();
    assert_eq!(ships, [true, false, false, true, true]);
    assert_eq!(sources[1].product_line_count(), 0);
}
