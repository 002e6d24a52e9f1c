//! Expressions and statements made from a number: the same number makes the same script again.
//!
//! What is made is what the reference accepts: it refuses two literals of different type under one operator, so an
//! operator's operands are chosen with what is known of their type before the script runs.

/// A small generator of our own (xorshift), so that a failure repeats.
pub struct Random(u64);

impl Random {
    /// The numbers that belong to this seed.
    pub fn seeded(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 11) % limit.max(1) as u64) as usize
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Statements that give the variables of the expressions their values.
pub const PREPARATION: &str = r#"
    $var(five) = 5; $var(zero) = 0; $var(minus) = -3; $var(big) = 700;
    $var(text) = "abc"; $var(upper) = "ABC"; $var(digits) = "42"; $var(empty) = ""; $var(padded) = "05";
    $var(mixed) = "7up"; $var(negative) = "-8";
    $vn(nothing) = $null;
    $(avp(many)[*]) = $null; $avp(many) = 1; $avp(many) = "two"; $avp(many) = 3;
"#;

/// Integers as they are written.
const INTEGERS: &[&str] = &["0", "1", "2", "7", "42", "0x1f", "010", "101b", "4096"];
/// Texts as they are written.
const TEXTS: &[&str] =
    &["\"abc\"", "\"42\"", "\"\"", "\"05\"", "'5'", "\"ABC\"", "\"a b\"", "\"-3\"", "\"x\" \"y\""];
/// Variables of a type that only the running script shows.
const VARIABLES: &[&str] = &[
    "$var(five)",
    "$var(zero)",
    "$var(minus)",
    "$var(big)",
    "$var(text)",
    "$var(upper)",
    "$var(digits)",
    "$var(empty)",
    "$var(padded)",
    "$var(negative)",
    "$vn(nothing)",
    "$vn(unset)",
    "$vz(unset)",
    "$avp(many)",
    "$(avp(many)[1])",
    "$(avp(many)[2])",
    "$avp(none)",
    "$rU",
    "$rd",
    "$fU",
    "$tt",
    "$cs",
    "$mt",
    "$hdr(Max-Forwards)",
    "$hdr(X-None)",
    "$hdrc(Via)",
    "$(var(text){s.len})",
    "$(rU{s.toupper})",
    "$(var(digits){s.int})",
    "$(hdr(Max-Forwards){s.int})",
    "$null",
];
/// Variables that hold a number or its digits, for operators that make numbers.
const NUMBERS: &[&str] = &[
    "$var(five)",
    "$var(zero)",
    "$var(minus)",
    "$var(big)",
    "$var(digits)",
    "$var(padded)",
    "$var(negative)",
    "$vn(unset)",
    "$vz(unset)",
    "$avp(many)",
    "$(avp(many)[2])",
    "$cs",
    "$mt",
    "$hdrc(Via)",
    "$hdr(Max-Forwards)",
    "$(var(text){s.len})",
];

/// What is known of an expression's type before the script runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Integer,
    Text,
    Open,
}

/// An expression of at most this depth.
pub fn expression(random: &mut Random, depth: usize) -> String {
    any(random, depth).0
}

fn any(random: &mut Random, depth: usize) -> (String, Type) {
    if depth == 0 {
        return match random.below(4) {
            0 => (random.pick(INTEGERS).to_string(), Type::Integer),
            1 => (random.pick(TEXTS).to_string(), Type::Text),
            _ => (random.pick(VARIABLES).to_string(), Type::Open),
        };
    }
    match random.below(12) {
        0..=3 => number(random, depth),
        4..=6 => comparison(random, depth),
        7 => sum(random, depth),
        8 => logic(random, depth),
        9 => measure(random),
        10 => (format!("(int){}", random.pick(NUMBERS)), Type::Integer),
        _ => (format!("(str){}", random.pick(VARIABLES)), Type::Text),
    }
}

/// Something with a number in it.
fn numeric(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.below(3) > 0 {
        return format!("({})", number(random, depth).0);
    }
    match random.below(2) {
        0 => random.pick(INTEGERS).to_string(),
        _ => random.pick(NUMBERS).to_string(),
    }
}

/// `+ - * / mod | & ^ << >> - ~` over numbers.
fn number(random: &mut Random, depth: usize) -> (String, Type) {
    const OPERATORS: &[&str] = &["+", "-", "*", "/", "mod", "|", "&", "^", "<<", ">>"];
    let left = numeric(random, depth - 1);
    let text = match random.below(12) {
        0 => format!("-{left}"),
        1 => format!("~{left}"),
        2 => format!("!{left}"),
        _ => {
            let operator = random.pick(OPERATORS);
            // The installed version calculates in 32 bits, so numbers stay small. Shifts by more than the width have no meaning in the reference, a divisor of zero is asked for apart.
            let right = match *operator {
                "<<" | ">>" => random.pick(&["0", "1", "4", "$var(five)"]).to_string(),
                "/" | "mod" => {
                    random.pick(&["1", "3", "7", "$var(five)", "$var(minus)", "$var(digits)"]).to_string()
                }
                _ => numeric(random, depth - 1),
            };
            format!("{left} {operator} {right}")
        }
    };
    (text, Type::Integer)
}

/// `+` of texts and anything: the left operand decides.
fn sum(random: &mut Random, depth: usize) -> (String, Type) {
    let (left, left_type) = any(random, depth - 1);
    let (right, right_type) = any(random, depth - 1);
    let is_mixed = left_type == Type::Integer && right_type == Type::Text;
    let right = if is_mixed { random.pick(VARIABLES).to_string() } else { right };
    (format!("({left}) + ({right})"), left_type)
}

/// Comparisons of all kinds.
fn comparison(random: &mut Random, depth: usize) -> (String, Type) {
    let text = match random.below(6) {
        0 => {
            let operator = random.pick(&["<", ">", "<=", ">="]);
            format!("{} {operator} {}", numeric(random, depth - 1), numeric(random, depth - 1))
        }
        1 => format!(
            "{} {} {}",
            random.pick(VARIABLES),
            random.pick(&["eq", "ne", "==", "!="]),
            random.pick(TEXTS)
        ),
        2 => format!("{} {} {}", random.pick(VARIABLES), random.pick(&["==", "!="]), random.pick(INTEGERS)),
        3 => format!("{} {} {}", random.pick(VARIABLES), random.pick(&["==", "!="]), random.pick(VARIABLES)),
        4 => format!(
            "{} =~ {}",
            random.pick(VARIABLES),
            random.pick(&["\"^a\"", "\"[0-9]+\"", "\"B\"", "\"^$\""])
        ),
        _ => format!("{} {} {}", numeric(random, 0), random.pick(&["ieq", "ine"]), numeric(random, 0)),
    };
    (format!("({text})"), Type::Integer)
}

/// `&&` and `||`, in signs and in words.
fn logic(random: &mut Random, depth: usize) -> (String, Type) {
    let operator = random.pick(&["&&", "||", "and", "or"]);
    let (left, right) = (truth(random, depth - 1), truth(random, depth - 1));
    (format!("({left} {operator} {right})"), Type::Integer)
}

/// Something that is true or false without a complaint.
fn truth(random: &mut Random, depth: usize) -> String {
    match random.below(3) {
        0 => format!("({})", comparison(random, depth.max(1)).0),
        1 => format!("!{}", random.pick(NUMBERS)),
        _ => numeric(random, depth),
    }
}

/// Something that is a text or may be one.
fn text(random: &mut Random) -> String {
    if random.below(2) == 0 { random.pick(TEXTS).to_string() } else { random.pick(VARIABLES).to_string() }
}

/// `strlen`, `strempty`, `defined`.
fn measure(random: &mut Random) -> (String, Type) {
    let text = match random.below(3) {
        0 => format!("strlen({})", text(random)),
        1 => format!("strempty({})", random.pick(VARIABLES)),
        _ => format!("(defined {})", random.pick(VARIABLES)),
    };
    (text, Type::Integer)
}

/// A block of statements that print where they come by: conditions, loops, switches, calls of `ROUTES` other routes.
pub fn flow(random: &mut Random, depth: usize, routes: &[String]) -> String {
    let count = 1 + random.below(3);
    (0..count).map(|_| statement(random, depth, routes)).collect()
}

fn statement(random: &mut Random, depth: usize, routes: &[String]) -> String {
    if depth == 0 {
        return leaf(random, routes);
    }
    let block = |random: &mut Random| flow(random, depth - 1, routes);
    match random.below(7) {
        0 => format!("if ({}) {{ {} }}\n", truth(random, 1), block(random)),
        1 => format!("if ({}) {{ {} }} else {{ {} }}\n", truth(random, 1), block(random), block(random)),
        2 => format!(
            "$var(loop) = 0; while ($var(loop) < {}) {{ $var(loop) = $var(loop) + 1; {} {} }}\n",
            1 + random.below(4),
            block(random),
            random.pick(&["", "", "if ($var(loop) == 2) break;"]),
        ),
        3 => switch_of_integers(random, depth, routes),
        4 => switch_of_texts(random, depth, routes),
        _ => leaf(random, routes),
    }
}

fn switch_of_integers(random: &mut Random, depth: usize, routes: &[String]) -> String {
    let on =
        random.pick(&["$var(five)", "$var(zero)", "$cs", "$mt", "$var(five) - 3", "$hdrc(Via)"]).to_string();
    let mut text = format!("switch ({on}) {{\n");
    let mut labels = vec!["0", "1", "2", "5", "7"];
    for _ in 0..1 + random.below(3) {
        let label = labels.remove(random.below(labels.len()));
        let end = random.pick(&["break;", "break;", ""]);
        text += &format!("case {label}: {} {end}\n", flow(random, depth - 1, routes));
    }
    if random.below(2) == 0 {
        text += &format!("default: {}\n", flow(random, depth - 1, routes));
    }
    text + "}\n"
}

fn switch_of_texts(random: &mut Random, depth: usize, routes: &[String]) -> String {
    let on = random.pick(&["$var(text)", "$rm", "$var(upper)", "$rd", "$fU", "$var(empty)"]).to_string();
    let mut text = format!("switch ({on}) {{\n");
    let mut labels =
        vec!["\"abc\"", "\"OPTIONS\"", "/\"^a\"", "/\"^A\"", "\"127.0.0.1\"", "\"tester\"", "\"\""];
    for _ in 0..1 + random.below(3) {
        let label = labels.remove(random.below(labels.len()));
        let end = random.pick(&["break;", "break;", ""]);
        text += &format!("case {label}: {} {end}\n", flow(random, depth - 1, routes));
    }
    if random.below(2) == 0 {
        text += &format!("default: {}\n", flow(random, depth - 1, routes));
    }
    text + "}\n"
}

/// A statement without others in it.
fn leaf(random: &mut Random, routes: &[String]) -> String {
    let mark = random.below(1000);
    let route = (!routes.is_empty()).then(|| random.pick(routes).clone());
    match (random.below(16), route) {
        (0, _) => {
            format!("return {};\n", random.pick(&["1", "-1", "0", "5", "-7", "$var(five)", "$var(minus)"]))
        }
        (1, _) => "return;\n".into(),
        (2, _) => "exit;\n".into(),
        (3, _) => "drop;\n".into(),
        (4 | 5, Some(route)) => {
            format!("route({route}); xinfo(\"@@{mark} after {route} $rc $retcode|@@\\n\");\n")
        }
        (6 | 7, Some(route)) => format!("if (route({route})) {{ xinfo(\"@@{mark} yes $?|@@\\n\"); }}\n"),
        (8, Some(route)) => {
            format!(
                "if (!route({route})) {{ xinfo(\"@@{mark} no $rc|@@\\n\"); }} else {{ xinfo(\"@@{mark} else|@@\\n\"); }}\n"
            )
        }
        (9, Some(route)) => {
            format!("$var(code) = route({route}); xinfo(\"@@{mark} code $var(code)|@@\\n\");\n")
        }
        (10, _) => format!("if (is_method(\"OPTIONS\")) {{ xinfo(\"@@{mark} $rc|@@\\n\"); }}\n"),
        (11, _) => format!("is_method(\"INVITE\"); xinfo(\"@@{mark} $rc|@@\\n\");\n"),
        (12, _) => format!("$var(loop) = $var(loop) + 1; xinfo(\"@@{mark} $var(loop)|@@\\n\");\n"),
        _ => format!("xinfo(\"@@{mark}|@@\\n\");\n"),
    }
}
