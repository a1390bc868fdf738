//! The first look at a file: is it TOML, are its keys known, are its values of the right kind?
//!
//! What comes out is a tree of values that are what [`super::keys`] promises, each with its place in the file, and the
//! list of what was wrong. A wrong value is left out of the tree, so that one mistake is told once.

use std::{fmt::Write as _, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    expand::{self, Surroundings},
    keys::{Key, Kind},
    mistake::{Mistake, meant, one_of},
    units,
};
use crate::process::hooks::Hook;

/// A value and its place in the file.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Flag(bool),
    Integer(i64),
    /// Seconds.
    Duration(u64),
    /// Bytes.
    Size(u64),
    Texts(Vec<String>),
    Hooks(Vec<Hook>),
    Table(Entries),
    Free(serde_json::Map<String, serde_json::Value>),
}

/// A table, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    entries: Vec<(String, Range<usize>, Node)>,
}

impl Entries {
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries.iter().find(|(found, _, _)| found == name).map(|(_, _, node)| node)
    }

    pub fn iter(&self) -> impl Iterator<Item = &(String, Range<usize>, Node)> {
        self.entries.iter()
    }

    pub fn table(&self, name: &str) -> Option<&Entries> {
        match &self.get(name)?.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> Option<(&str, Range<usize>)> {
        match self.get(name)? {
            Node { span, value: Value::Text(text) } => Some((text, span.clone())),
            _ => None,
        }
    }

    pub fn texts(&self, name: &str) -> Option<&[String]> {
        match &self.get(name)?.value {
            Value::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    pub fn hooks(&self, name: &str) -> &[Hook] {
        match self.get(name) {
            Some(Node { value: Value::Hooks(hooks), .. }) => hooks,
            _ => &[],
        }
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name)?.value {
            Value::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    /// Seconds or bytes.
    pub fn quantity(&self, name: &str) -> Option<u64> {
        match self.get(name)?.value {
            Value::Duration(quantity) | Value::Size(quantity) => Some(quantity),
            _ => None,
        }
    }

    pub fn free(&self, name: &str) -> Option<&serde_json::Map<String, serde_json::Value>> {
        match &self.get(name)?.value {
            Value::Free(map) => Some(map),
            _ => None,
        }
    }
}

/// Reads `text` by these keys.
pub fn check(text: &str, keys: &'static [Key], around: &Surroundings<'_>) -> (Entries, Vec<Mistake>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut check = Check { around, mistakes: Vec::new() };
    for error in errors {
        // Not the line: in a file that is no TOML nobody knows where a password ends.
        check.mistakes.push(Mistake {
            span: error.span().unwrap_or_default(),
            key: String::new(),
            what: format!("this is not TOML: {}", error.message()),
            allowed: "a line is a [table], or a key = value; texts stand in quotes".to_owned(),
            show: false,
        });
    }
    if !check.mistakes.is_empty() {
        // What was recovered would only cause mistakes that are none.
        return (Entries::default(), check.mistakes);
    }
    let entries = check.table(table.get_ref(), keys, "");
    (entries, check.mistakes)
}

struct Check<'a> {
    around: &'a Surroundings<'a>,
    mistakes: Vec<Mistake>,
}

impl Check<'_> {
    fn table(&mut self, table: &DeTable<'_>, keys: &'static [Key], path: &str) -> Entries {
        let mut entries = Vec::new();
        for (name, value) in table {
            let span = name.span();
            let name: &str = name.get_ref();
            let full = join(path, name);
            match keys.iter().find(|key| key.name == name) {
                Some(key) => {
                    let node = self.value(value, &key.kind, &full, is_secret(name));
                    entries.extend(node.map(|node| (name.to_owned(), span, node)));
                }
                None => self.unknown(name, span, keys, &full),
            }
        }
        entries.sort_by_key(|(_, span, _)| span.start);
        Entries { entries }
    }

    fn unknown(&mut self, name: &str, span: Range<usize>, keys: &[Key], full: &str) {
        let known: Vec<_> = keys.iter().map(|key| key.name).collect();
        let allowed = match meant(name, known.iter().copied()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("allowed: {}", one_of(&known)),
        };
        // Its value may be anything, a password under a wrong name as well: the line is not shown.
        self.mistakes.push(Mistake {
            span,
            key: full.to_owned(),
            what: "no such key".to_owned(),
            allowed,
            show: false,
        });
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, kind: &'static Kind, path: &str, secret: bool) -> Option<Node> {
        let span = value.span();
        let checked = match (kind, value.get_ref()) {
            (Kind::Table(keys), DeValue::Table(table)) => Value::Table(self.table(table, keys, path)),
            (Kind::Named(keys), DeValue::Table(table)) => Value::Table(self.named(table, keys, path)),
            (Kind::Flag, DeValue::Boolean(flag)) => Value::Flag(*flag),
            (Kind::Free, DeValue::Table(_)) => match self.free(value.get_ref(), &span, path)? {
                serde_json::Value::Object(map) => Value::Free(map),
                _ => return None,
            },
            (Kind::Integer(from, to, _), DeValue::Integer(integer)) => {
                let found = integer.as_str().parse::<i64>().ok().or_else(|| radix(integer.as_str(), integer.radix()));
                match found.filter(|found| (from..=to).contains(&found)) {
                    Some(found) => Value::Integer(found),
                    None => {
                        let what = format!("{} is out of range", integer.as_str());
                        return self.wrong(span, path, what, kind, secret);
                    }
                }
            }
            (Kind::Texts, DeValue::Array(array)) => {
                let mut texts = Vec::new();
                for item in array.iter() {
                    match item.get_ref() {
                        DeValue::String(text) => texts.push(self.expanded(text, &item.span(), path, secret)?),
                        other => return self.wrong(item.span(), path, found(other, secret), kind, secret),
                    }
                }
                Value::Texts(texts)
            }
            (Kind::Commands, DeValue::Array(array)) => {
                let hooks = array.iter().map(|item| self.hook(item, kind, path));
                Value::Hooks(hooks.collect::<Option<_>>()?)
            }
            (Kind::Text | Kind::OneOf(_) | Kind::Duration | Kind::Size, DeValue::String(text)) => {
                let text = self.expanded(text, &span, path, secret)?;
                match of_text(&text, kind) {
                    Some(value) => value,
                    None => return self.wrong(span, path, format!("{text:?} is not known here"), kind, secret),
                }
            }
            (_, other) => return self.wrong(span, path, found(other, secret), kind, secret),
        };
        Some(Node { span, value: checked })
    }

    fn named(&mut self, table: &DeTable<'_>, keys: &'static [Key], path: &str) -> Entries {
        let mut entries = Vec::new();
        for (name, value) in table {
            let (name_span, name): (_, &str) = (name.span(), name.get_ref());
            let full = join(path, name);
            if !crate::camera::is_name(name) {
                let (what, allowed) = (format!("{name:?} is no name"), crate::camera::NAME_RULE.to_owned());
                self.mistakes.push(Mistake { span: name_span, key: path.to_owned(), what, allowed, show: true });
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) => {
                    let node = Node { span: value.span(), value: Value::Table(self.table(inner, keys, &full)) };
                    entries.push((name.to_owned(), name_span, node));
                }
                other => {
                    let what = found(other, true);
                    let allowed = format!("a table, as in [{full}]");
                    self.mistakes.push(Mistake { span: value.span(), key: full, what, allowed, show: false });
                }
            }
        }
        entries.sort_by_key(|(_, span, _)| span.start);
        Entries { entries }
    }

    /// `"NAME"`, or `{ command = "NAME", parameters = ANY }`.
    fn hook(&mut self, item: &Spanned<DeValue<'_>>, kind: &Kind, path: &str) -> Option<Hook> {
        let (command, params) = match self.free(item.get_ref(), &item.span(), path)? {
            serde_json::Value::Object(mut table) => {
                let (command, params) = (table.remove("command"), table.remove("parameters"));
                (command.filter(|_| table.is_empty()), params.unwrap_or_default())
            }
            command => (Some(command), serde_json::Value::Null),
        };
        match command {
            Some(serde_json::Value::String(command)) if !command.is_empty() => Some(Hook { command, params }),
            _ => self.wrong(item.span(), path, "this is no command".to_owned(), kind, false),
        }
    }

    /// Anything that TOML can say, as JSON; texts are expanded in it as well.
    fn free(&mut self, value: &DeValue<'_>, span: &Range<usize>, path: &str) -> Option<serde_json::Value> {
        Some(match value {
            DeValue::String(text) => self.expanded(text, span, path, is_secret(path))?.into(),
            DeValue::Integer(integer) => radix(integer.as_str(), integer.radix())?.into(),
            DeValue::Float(float) => float.as_str().parse::<f64>().ok()?.into(),
            DeValue::Boolean(flag) => (*flag).into(),
            DeValue::Datetime(time) => time.to_string().into(),
            DeValue::Array(array) => {
                let items = array.iter().map(|item| self.free(item.get_ref(), &item.span(), path));
                serde_json::Value::Array(items.collect::<Option<_>>()?)
            }
            DeValue::Table(table) => {
                let entry = |(name, item): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                    let name: &std::borrow::Cow<'_, str> = name.get_ref();
                    Some((name.to_string(), self.free(item.get_ref(), &item.span(), &join(path, name))?))
                };
                serde_json::Value::Object(table.iter().map(entry).collect::<Option<_>>()?)
            }
        })
    }

    /// A text with its `${...}` filled in.
    fn expanded(&mut self, text: &str, span: &Range<usize>, path: &str, secret: bool) -> Option<String> {
        match expand::expand(text, self.around) {
            Ok(expanded) => {
                if secret {
                    crate::mask::keep_secret(&expanded);
                }
                Some(expanded)
            }
            Err(problem) => {
                let (what, allowed) = (problem.to_string(), problem.advice());
                self.mistakes.push(Mistake { span: span.clone(), key: path.to_owned(), what, allowed, show: !secret });
                None
            }
        }
    }

    fn wrong<T>(&mut self, span: Range<usize>, path: &str, what: String, kind: &Kind, secret: bool) -> Option<T> {
        let allowed = format!("allowed: {}", allowed(kind));
        self.mistakes.push(Mistake { span, key: path.to_owned(), what, allowed, show: !secret });
        None
    }
}

/// Keys whose value is not shown, whatever is wrong with it.
fn is_secret(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    ["password", "token", "secret", "passphrase"].iter().any(|secret| name.contains(secret))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn radix(digits: &str, radix: u32) -> Option<i64> {
    i64::from_str_radix(digits, radix).ok()
}

fn of_text(text: &str, kind: &Kind) -> Option<Value> {
    match kind {
        Kind::Text => Some(Value::Text(text.to_owned())),
        Kind::OneOf(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
        Kind::Duration => units::duration(text).map(Value::Duration),
        Kind::Size => units::size(text).map(Value::Size),
        _ => None,
    }
}

fn found(value: &DeValue<'_>, secret: bool) -> String {
    let article = if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
    let mut found = format!("{article} {}", value.type_str());
    if let (DeValue::String(text), false) = (value, secret) {
        let _ = write!(found, " {:?}", text);
    }
    found + " does not belong here"
}

/// In words, for the user.
pub fn allowed(kind: &Kind) -> String {
    match kind {
        Kind::Text => "a text in quotes".to_owned(),
        Kind::OneOf(words) => one_of(
            &words
                .iter()
                .map(|word| format!("{word:?}"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        ),
        Kind::Flag => "true or false".to_owned(),
        Kind::Integer(from, to, unit) => format!("{from} to {to} {unit}"),
        Kind::Duration => "a number with s, m, h or d, as in \"10m\" or \"7d\"".to_owned(),
        Kind::Size => "a number with kB, MB, GB, KiB, MiB or GiB, as in \"20 GB\"".to_owned(),
        Kind::Texts => "a list of texts, as in [\"program\", \"argument\"]".to_owned(),
        Kind::Commands => "a list of commands, as in [\"ping\", { command = \"set\", parameters = {} }]".to_owned(),
        Kind::Table(keys) => format!("a table of {}", one_of(&keys.iter().map(|key| key.name).collect::<Vec<_>>())),
        Kind::Named(_) | Kind::Free => "a table".to_owned(),
    }
}
