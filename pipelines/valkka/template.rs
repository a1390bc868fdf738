//! Pipeline descriptions with `{placeholders}`, filled in.
//!
//! A template is plain `gst-launch-1.0` syntax in a file `NAME.launch`. Those in `pipelines/templates/` are part of the
//! binary; a folder of the user's comes before them. A file begins with comments: what it does, and a line for each of
//! its placeholders, with a default if it has one:
//!
//! ```text
//! # {camera}         the camera's name
//! # {width} = 640    pixels
//! ```
//!
//! A description is cut into words *before* it is filled in, so that a value with blanks stays one word. A word that
//! is nothing but `{pipeline}` becomes the words of a description of the user's. What comes out are words as
//! GStreamer's parser wants them, quoted where they must be: joined by blanks they are a description, one by one
//! they are arguments of `gst-launch-1.0`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A template by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub name: String,
    text: Arc<str>,
    /// The file of the user's that it comes from; `None` if it is built in.
    pub file: Option<PathBuf>,
}

/// What stands in a template's comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    pub name: String,
    pub default: Option<String>,
    pub about: String,
}

const BUILT_IN: &[(&str, &str)] = &[
    ("capture-file", include_str!("../templates/capture-file.launch")),
    ("capture-pipeline", include_str!("../templates/capture-pipeline.launch")),
    ("capture-rtsp", include_str!("../templates/capture-rtsp.launch")),
    ("capture-rtsp-audio", include_str!("../templates/capture-rtsp-audio.launch")),
    ("capture-test", include_str!("../templates/capture-test.launch")),
    ("capture-usb", include_str!("../templates/capture-usb.launch")),
    ("record", include_str!("../templates/record.launch")),
    ("record-audio", include_str!("../templates/record-audio.launch")),
    ("relay", include_str!("../templates/relay.launch")),
    ("restream", include_str!("../templates/restream.launch")),
    ("web", include_str!("../templates/web.launch")),
    ("web-audio", include_str!("../templates/web-audio.launch")),
];

/// Why a template could not be filled in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("template {template}: there is no value for {{{placeholder}}}")]
    NoValue { template: String, placeholder: String },
    #[error("template {template}: a placeholder is not closed in {word:?}")]
    Open { template: String, word: String },
    #[error(
        "the value of {0} begins with a quote, ends in a backslash or has a control character in it, which a pipeline description cannot hold"
    )]
    Unquotable(String),
    #[error("a quote is not closed in this description")]
    Quote,
}

/// Why a folder of templates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

/// All templates by name: the user's before the built-in ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates(BTreeMap<String, Template>);

impl Templates {
    pub fn built_in() -> Self {
        let template = |(name, text): &(&str, &str)| {
            ((*name).to_owned(), Template { name: (*name).to_owned(), text: (*text).into(), file: None })
        };
        Self(BUILT_IN.iter().map(template).collect())
    }

    /// With those of a folder in front.
    pub fn with_folder(folder: &Path) -> Result<Self, FolderError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError { path, source }
        };
        let mut all = Self::built_in();
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".launch"));
            let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            let template = Template { name: name.to_owned(), text: text.into(), file: Some(path.clone()) };
            all.0.insert(template.name.clone(), template);
        }
        Ok(all)
    }

    pub fn get(&self, name: &str) -> Option<&Template> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.0.values()
    }
}

/// A value for a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Word(String),
    /// A description of the user's, in words.
    Words(Vec<String>),
}

/// Values for placeholders, by name.
pub type Values = BTreeMap<String, Value>;

impl Template {
    /// The words of the description, comments and line ends gone, each `{placeholder}` replaced.
    pub fn fill(&self, values: &Values) -> Result<Vec<String>, TemplateError> {
        let documented = self.placeholders();
        let find = |name: &str| match values.get(name) {
            Some(value) => Some(value.clone()),
            None => documented.iter().find(|p| p.name == name)?.default.clone().map(Value::Word),
        };
        let mut filled = Vec::new();
        for word in words_of(&self.text)? {
            let whole = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
            match whole.and_then(find) {
                Some(Value::Words(words)) => filled.extend(words),
                _ => filled.push(self.fill_word(&word, &find)?),
            }
        }
        Ok(filled)
    }

    fn fill_word(&self, word: &str, find: &impl Fn(&str) -> Option<Value>) -> Result<String, TemplateError> {
        // `location="{path}"` is `location={path}`: quotes are put where they are needed, and only there.
        let (key, value) = match word.split_once('=') {
            Some((key, value)) if value.contains('{') => (key, unquoted(value)),
            _ => return self.replaced(word, find),
        };
        let (key, value) = (self.replaced(key, find)?, self.replaced(value, find)?);
        Ok(format!("{key}={}", quoted(&value).ok_or(TemplateError::Unquotable(key.clone()))?))
    }

    fn replaced(&self, text: &str, find: &impl Fn(&str) -> Option<Value>) -> Result<String, TemplateError> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let open = || TemplateError::Open { template: self.name.clone(), word: text.to_owned() };
            let (placeholder, after) = after.split_once('}').ok_or_else(open)?;
            let Some(Value::Word(value)) = find(placeholder) else {
                let placeholder = placeholder.to_owned();
                return Err(TemplateError::NoValue { template: self.name.clone(), placeholder });
            };
            out.push_str(before);
            out.push_str(&value);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// What the comments say of the placeholders: `# {name} = default    what it is`.
    pub fn placeholders(&self) -> Vec<Placeholder> {
        let line = |line: &str| {
            let (name, rest) = line.strip_prefix("# {")?.split_once('}')?;
            let (default, about) = match rest.trim_start().strip_prefix("= ") {
                Some(rest) => {
                    let (default, about) = rest.split_once("  ").unwrap_or((rest, ""));
                    (Some(default.trim().to_owned()), about)
                }
                None => (None, rest),
            };
            Some(Placeholder { name: name.to_owned(), default, about: about.trim().to_owned() })
        };
        self.text.lines().filter_map(line).collect()
    }

    /// The comments' first paragraph: what it does.
    pub fn about(&self) -> String {
        let comment = self.text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
        comment.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The elements that a filled-in description names: what has to be installed. Filters (`video/x-raw,...`), properties
/// and pads (`tee.`) are not elements.
pub fn elements(words: &[String]) -> Vec<&str> {
    let mut elements = Vec::new();
    let mut begins = true;
    for word in words {
        let word = word.trim_matches(['(', ')']);
        if word.is_empty() {
            continue;
        }
        if begins && word != "!" && !word.contains(['/', '.', '=', ',', ':']) {
            elements.push(word);
        }
        // An element stands behind a link, or where a property is not: at the beginning of a new branch.
        begins = word == "!" || word.ends_with('.');
    }
    elements
}

/// A description in words, comments and line ends gone; quotes keep what is between them together.
pub fn words_of(text: &str) -> Result<Vec<String>, TemplateError> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = code.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) => {
                word.push(c);
                word.extend(characters.next());
            }
            (_, Some(open)) => {
                quote = (c != open).then_some(open);
                word.push(c);
            }
            ('"' | '\'', None) => {
                quote = Some(c);
                word.push(c);
            }
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (c, None) => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    if quote.is_some() { Err(TemplateError::Quote) } else { Ok(words) }
}

/// A value as GStreamer's parser reads it back; `gst-launch-1.0`, which escapes blanks of its arguments, does as well.
fn quoted(value: &str) -> Option<String> {
    if value.starts_with('"') || value.ends_with('\\') || value.contains(char::is_control) {
        return None;
    }
    if !value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\')) {
        return Some(value.to_owned());
    }
    Some(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A value of a filled-in description as it is meant: what the parser makes of it.
pub fn plain(value: &str) -> String {
    let inner = unquoted(value);
    let mut plain = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        plain.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    plain
}

fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// As a shell reads it back.
pub fn shell(words: &[String]) -> String {
    let quoted = |word: &String| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=+:,./@%!".contains(&b);
        // An `!` alone, as between elements, is no history expansion.
        let plain = word == "!" || (word.bytes().all(plain) && !word.contains('!'));
        if plain { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template { name: "mine".into(), text: text.into(), file: None }
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::Word((*value).to_owned()))).collect()
    }

    #[test]
    fn every_placeholder_of_a_built_in_template_is_explained_and_used() {
        for template in Templates::built_in().iter() {
            assert!(!template.about().is_empty(), "{}", template.name);
            let words = words_of(template.text()).unwrap();
            let placeholders = template.placeholders();
            for placeholder in &placeholders {
                let used = words.iter().any(|word| word.contains(&format!("{{{}}}", placeholder.name)));
                assert!(used, "{}: {} is not used", template.name, placeholder.name);
                assert!(!placeholder.about.is_empty(), "{}: {}", template.name, placeholder.name);
            }
            let all: Values = placeholders.iter().map(|p| (p.name.clone(), Value::Word("1".into()))).collect();
            let filled = template.fill(&all).unwrap();
            assert!(!filled.concat().contains(['{', '}', '#']), "{filled:?}");
        }
    }

    #[test]
    fn a_value_with_blanks_and_quotes_stays_one_word() {
        let path = r#"/my $(videos)/a ! "b"; it's c=d {camera}\.mp4"#;
        let words = template("filesrc location={path} ! x").fill(&values(&[("path", path)])).unwrap();
        let quoted = r#"location="/my $(videos)/a ! \"b\"; it's c=d {camera}\\.mp4""#;
        assert_eq!(words, ["filesrc", quoted, "!", "x"]);
        assert_eq!(plain(words[1].strip_prefix("location=").unwrap()), path);
        let words = template("a l=\"{path}\"").fill(&values(&[("path", "b")])).unwrap();
        assert_eq!(words, ["a", "l=b"]);
    }

    #[test]
    fn a_value_that_the_parser_would_misread_is_refused() {
        for path in ["\"b", "b\\", "a\nb", "\u{7}"] {
            let refused = template("l={path}").fill(&values(&[("path", path)]));
            assert_eq!(refused, Err(TemplateError::Unquotable("l".into())), "{path:?}");
        }
    }

    #[test]
    fn a_description_of_the_users_is_put_in_as_it_is() {
        let words = words_of("a name=\"x y\" !\n  # not this\n b caps='video/x-raw, width=1'").unwrap();
        assert_eq!(words, ["a", "name=\"x y\"", "!", "b", "caps='video/x-raw, width=1'"]);
        let mut values = Values::new();
        values.insert("pipeline".into(), Value::Words(words.clone()));
        let filled = template("{pipeline} ! c").fill(&values).unwrap();
        assert_eq!(filled, [&words[..], &["!".into(), "c".into()]].concat());
        assert_eq!(words_of("a b=\"c"), Err(TemplateError::Quote));
    }

    #[test]
    fn defaults_stand_in_the_comments() {
        let template = template("# What it does.\n#\n# {a} = 1 2  the first\n# {b}  the second\nx a={a} b={b}\n");
        assert_eq!(template.about(), "What it does.");
        let placeholder = |name: &str, default: Option<&str>, about: &str| Placeholder {
            name: name.into(),
            default: default.map(Into::into),
            about: about.into(),
        };
        assert_eq!(
            template.placeholders(),
            [placeholder("a", Some("1 2"), "the first"), placeholder("b", None, "the second")]
        );
        assert_eq!(template.fill(&values(&[("b", "3")])).unwrap(), ["x", "a=\"1 2\"", "b=3"]);
        let missing = TemplateError::NoValue { template: "mine".into(), placeholder: "b".into() };
        assert_eq!(template.fill(&Values::new()), Err(missing));
    }

    #[test]
    fn mistakes_in_a_template_are_found() {
        let open = TemplateError::Open { template: "mine".into(), word: "{camera".into() };
        assert_eq!(template("b ! a={camera").fill(&values(&[("camera", "x")])), Err(open));
    }

    #[test]
    fn elements_of_a_description_are_known() {
        let words =
            words_of("rtspsrc name=c location=x c. ! application/x-rtp ! ( rtph264depay ! tee name=t ) t. ! queue");
        let words = words.unwrap();
        assert_eq!(elements(&words), ["rtspsrc", "rtph264depay", "tee", "queue"]);
    }

    #[test]
    fn a_folder_of_the_users_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("web.launch"), "# Mine.\nfakesrc ! fakesink").unwrap();
        fs::write(folder.path().join("notes.txt"), "no template").unwrap();
        let templates = Templates::with_folder(folder.path()).unwrap();
        assert_eq!(templates.get("web").unwrap().about(), "Mine.");
        assert!(templates.get("capture-rtsp").unwrap().file.is_none() && templates.get("notes").is_none());
        assert!(Templates::with_folder(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_shell_reads_words_back() {
        let words = ["a", "!", "l=rtsp://u:p@h/?a=b&c", "l=\"it's\"", "x=5"].map(str::to_owned);
        let line = shell(&words);
        let output = std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), words);
    }
}
