//! The language in which runs are searched for: `metrics.rmse < 1 AND params.model = 'tree'`, as MLflow's users write it, with
//! OR, NOT and parentheses besides. Nothing here knows of SQL: a filter becomes tokens in the order in which they stand.

use std::iter::Peekable;
use std::str::CharIndices;

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A metric, by its latest value.
    Metric,
    /// A parameter.
    Param,
    /// A tag.
    Tag,
    /// A property that every run has.
    Attribute,
}

/// A field and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What kind of thing.
    pub field: Field,
    /// Its name, without quotes.
    pub name: String,
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The text, without quotes.
    pub text: String,
    /// Whether it was written as a number.
    pub number: bool,
}

/// A part of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// `(`, `)`, `AND`, `OR` or `NOT`.
    Word(&'static str),
    /// A comparison; of several values with `IN` and `NOT IN`, of none with `IS NULL` and `IS NOT NULL`.
    Condition(Subject, &'static str, Vec<Value>),
}

/// Where a text is no filter, and why: the number of characters before the place, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// Characters before the place.
    pub at: usize,
    /// What would have been right.
    pub expected: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A name, or a keyword; with quotes, it is never a keyword.
    Name {
        text: String,
        quoted: bool,
    },
    Text(String),
    Number(String),
    Symbol(&'static str),
}

struct Tokens {
    /// With the number of characters before each.
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

/// Reads until the closing quote, which is written twice to stand for itself.
fn quoted(chars: &mut Peekable<CharIndices>, quote: char, start: usize) -> Result<String, Misread> {
    let mut text = String::new();
    while let Some((_, c)) = chars.next() {
        if c != quote {
            text.push(c);
        } else if chars.next_if(|&(_, c)| c == quote).is_some() {
            text.push(quote);
        } else {
            return Ok(text);
        }
    }
    Err(Misread { at: start, expected: "a closing quote" })
}

const SYMBOLS: [&str; 12] = ["<=", ">=", "!=", "<>", "==", "=", "<", ">", "(", ")", ",", "."];

fn tokens(text: &str) -> Result<Tokens, Misread> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    let place = |byte: usize| text[..byte].chars().count();
    while let Some(&(at, c)) = chars.peek() {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':' | '@');
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        let token = if matches!(c, '\'' | '"' | '`') {
            chars.next();
            let text = quoted(&mut chars, c, place(at))?;
            if c == '\'' { Token::Text(text) } else { Token::Name { text, quoted: true } }
        } else if c.is_ascii_digit() || matches!(c, '-' | '+') {
            let mut number = String::new();
            while let Some((_, c)) = chars.next_if(|&(_, c)| {
                c.is_ascii_alphanumeric()
                    || c == '.'
                    || (matches!(c, '-' | '+')
                        && (number.is_empty() || number.ends_with(['e', 'E'])))
            }) {
                number.push(c);
            }
            if number.parse::<f64>().is_err() {
                return Err(Misread { at: place(at), expected: "a number" });
            }
            Token::Number(number)
        } else if is_word(c) {
            let mut word = String::new();
            while let Some((_, c)) = chars.next_if(|&(_, c)| is_word(c)) {
                word.push(c);
            }
            Token::Name { text: word, quoted: false }
        } else if let Some(&symbol) = SYMBOLS.iter().find(|symbol| text[at..].starts_with(**symbol))
        {
            symbol.chars().for_each(|_| _ = chars.next());
            Token::Symbol(symbol)
        } else {
            return Err(Misread {
                at: place(at),
                expected: "a condition such as metrics.rmse < 1",
            });
        };
        tokens.push((place(at), token));
    }
    Ok(Tokens { tokens, next: 0, end: text.chars().count() })
}

impl Tokens {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, Misread> {
        let at = self.tokens.get(self.next).map_or(self.end, |&(at, _)| at);
        Err(Misread { at, expected })
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.next += usize::from(is);
        is
    }

    fn keyword(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Name { text, quoted: false }) if text.eq_ignore_ascii_case(word));
        self.next += usize::from(is);
        is
    }

    fn name(&mut self, expected: &'static str) -> Result<String, Misread> {
        let Some(Token::Name { text, .. }) = self.peek() else { return self.expected(expected) };
        let text = text.clone();
        self.next += 1;
        Ok(text)
    }

    /// `metrics.rmse`, `params."a b"`, `attributes.status`, or `status` alone.
    fn subject(&mut self) -> Result<Subject, Misread> {
        let at = self.next;
        let first = self.name("metrics., params., tags. or attributes. and a name")?;
        if !self.symbol(".") {
            return Ok(Subject { field: Field::Attribute, name: first });
        }
        let field = match first.to_lowercase().as_str() {
            "metric" | "metrics" => Field::Metric,
            "param" | "params" | "parameter" | "parameters" => Field::Param,
            "tag" | "tags" => Field::Tag,
            "attribute" | "attributes" | "attr" | "run" => Field::Attribute,
            _ => {
                self.next = at;
                return self.expected("metrics., params., tags. or attributes. and a name");
            }
        };
        // A name may have dots in it without quotes.
        let mut name = self.name("a name")?;
        while self.symbol(".") {
            name.push('.');
            name.push_str(&self.name("a name")?);
        }
        Ok(Subject { field, name })
    }

    fn value(&mut self) -> Result<Value, Misread> {
        let value = match self.peek() {
            // MLflow takes double quotes for values as well.
            Some(Token::Text(text) | Token::Name { text, quoted: true }) => {
                Value { text: text.clone(), number: false }
            }
            Some(Token::Number(text)) => Value { text: text.clone(), number: true },
            _ => return self.expected("a value: a number, or text in quotes"),
        };
        self.next += 1;
        Ok(value)
    }

    fn condition(&mut self, parts: &mut Vec<Part>) -> Result<(), Misread> {
        let subject = self.subject()?;
        if self.keyword("IS") {
            let operator = if self.keyword("NOT") { "IS NOT NULL" } else { "IS NULL" };
            if !self.keyword("NULL") {
                return self.expected("NULL");
            }
            parts.push(Part::Condition(subject, operator, Vec::new()));
            return Ok(());
        }
        let not = self.keyword("NOT");
        if self.keyword("IN") {
            if !self.symbol("(") {
                return self.expected("a list in parentheses");
            }
            let mut values = vec![self.value()?];
            while self.symbol(",") {
                values.push(self.value()?);
            }
            if !self.symbol(")") {
                return self.expected(")");
            }
            parts.push(Part::Condition(subject, if not { "NOT IN" } else { "IN" }, values));
            return Ok(());
        }
        let operator = if self.keyword("LIKE") {
            if not { "NOT LIKE" } else { "LIKE" }
        } else if self.keyword("ILIKE") {
            if not { "NOT ILIKE" } else { "ILIKE" }
        } else if not {
            return self.expected("LIKE, ILIKE or IN");
        } else {
            let found = SYMBOLS[..8].iter().find(|symbol| self.symbol(symbol));
            match found {
                Some(&"==") => "=",
                Some(&"<>") => "!=",
                Some(symbol) => symbol,
                None => return self.expected("=, !=, <, <=, >, >=, LIKE, ILIKE, IN or IS NULL"),
            }
        };
        let value = self.value()?;
        parts.push(Part::Condition(subject, operator, vec![value]));
        Ok(())
    }

    fn factor(&mut self, parts: &mut Vec<Part>, depth: usize) -> Result<(), Misread> {
        if depth > MAX_DEPTH {
            return self.expected("fewer parentheses");
        }
        if self.keyword("NOT") {
            parts.push(Part::Word("NOT"));
            return self.factor(parts, depth + 1);
        }
        if !self.symbol("(") {
            return self.condition(parts);
        }
        parts.push(Part::Word("("));
        self.expression(parts, depth + 1)?;
        if !self.symbol(")") {
            return self.expected("AND, OR or )");
        }
        parts.push(Part::Word(")"));
        Ok(())
    }

    fn expression(&mut self, parts: &mut Vec<Part>, depth: usize) -> Result<(), Misread> {
        loop {
            self.factor(parts, depth)?;
            if self.keyword("AND") {
                parts.push(Part::Word("AND"));
            } else if self.keyword("OR") {
                parts.push(Part::Word("OR"));
            } else {
                return Ok(());
            }
        }
    }
}

/// Parentheses in parentheses.
const MAX_DEPTH: usize = 100;

/// Reads a filter; of an empty one nothing comes.
pub fn filter(text: &str) -> Result<Vec<Part>, Misread> {
    let mut tokens = tokens(text)?;
    let mut parts = Vec::new();
    if tokens.peek().is_some() {
        tokens.expression(&mut parts, 0)?;
    }
    match tokens.peek() {
        None => Ok(parts),
        Some(_) => tokens.expected("AND, OR or the end"),
    }
}

/// Reads an order, `metrics.rmse DESC, start_time`: what to go by, and whether from the largest.
pub fn order(text: &str) -> Result<Vec<(Subject, bool)>, Misread> {
    let mut tokens = tokens(text)?;
    let mut order = Vec::new();
    while tokens.peek().is_some() {
        if !order.is_empty() && !tokens.symbol(",") {
            return tokens.expected("ASC, DESC, a comma or the end");
        }
        let subject = tokens.subject()?;
        let descending = tokens.keyword("DESC");
        if !descending {
            tokens.keyword("ASC");
        }
        order.push((subject, descending));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        let part = |part: Part| match part {
            Part::Word(word) => word.to_owned(),
            Part::Condition(subject, operator, values) => {
                let values: Vec<_> = values
                    .iter()
                    .map(|value| {
                        if value.number { value.text.clone() } else { format!("{:?}", value.text) }
                    })
                    .collect();
                format!("{:?}[{}] {operator} {}", subject.field, subject.name, values.join("|"))
            }
        };
        match filter(text) {
            Ok(parts) => parts.into_iter().map(part).collect::<Vec<_>>().join(" "),
            Err(Misread { at, expected }) => format!("{at}: {expected}"),
        }
    }

    #[test]
    fn reads_what_mlflow_reads() {
        for (text, expected) in [
            ("", ""),
            ("metrics.rmse < 1", "Metric[rmse] < 1"),
            (
                "metrics.rmse<-1.5e-3 and params.model = 'tree'",
                "Metric[rmse] < -1.5e-3 AND Param[model] = \"tree\"",
            ),
            ("metric.\"val loss\" >= 2", "Metric[val loss] >= 2"),
            ("params.`learning rate` == \"0.1\"", "Param[learning rate] = \"0.1\""),
            ("tags.mlflow.source.name LIKE '%it''s%'", "Tag[mlflow.source.name] LIKE \"%it's%\""),
            ("status IN ('completed', 'failed')", "Attribute[status] IN \"completed\"|\"failed\""),
            ("attributes.name not ilike 'a%'", "Attribute[name] NOT ILIKE \"a%\""),
            ("tags.note IS NOT NULL", "Tag[note] IS NOT NULL "),
            (
                "NOT (metrics.a > 1 OR metrics.b <> 2) AND x = 3",
                "NOT ( Metric[a] > 1 OR Metric[b] != 2 ) AND Attribute[x] = 3",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn says_where_it_is_wrong() {
        for (text, expected) in [
            ("metrics.rmse", "12: =, !=, <, <=, >, >=, LIKE, ILIKE, IN or IS NULL"),
            ("metrics.rmse <", "14: a value: a number, or text in quotes"),
            ("metrics.rmse < 1 params.x = 'y'", "17: AND, OR or the end"),
            ("speed.x = 1", "0: metrics., params., tags. or attributes. and a name"),
            ("params.x = 'y", "11: a closing quote"),
            ("(metrics.x = 1", "14: AND, OR or )"),
            ("metrics.x = 1; DROP TABLE x", "13: a condition such as metrics.rmse < 1"),
            ("metrics.x = 1e", "12: a number"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_an_order() {
        let order = order("metrics.rmse DESC, start_time").map(|order| {
            order
                .into_iter()
                .map(|(subject, down)| (subject.field, subject.name, down))
                .collect::<Vec<_>>()
        });
        let expected = vec![
            (Field::Metric, "rmse".to_owned(), true),
            (Field::Attribute, "start_time".to_owned(), false),
        ];
        assert_eq!(order, Ok(expected));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = filter(&text);
            let _ = order(&text);
        }
    }
}
