//! Where a description comes from, and what GStreamer makes of it.

use std::{fs, io::Read, path::PathBuf};

use anyhow::{Context, Result, bail};
use gst::prelude::*;

/// GStreamer can make nothing of a description. Trying again is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// Where the words of a description are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file or pipe that was inherited by this number, each ended by a zero byte.
    Descriptor(i32),
    /// In a file: text as a shell would get it, with lines of comment that begin with `#`.
    File(PathBuf),
    /// In the argument list.
    Words(Vec<String>),
}

/// A description as it is passed by descriptor.
pub fn to_bytes(words: &[String]) -> Vec<u8> {
    words.iter().flat_map(|word| word.bytes().chain([0])).collect()
}

/// The words, each one argument of gst-launch.
pub fn words(origin: &Origin) -> Result<Vec<String>> {
    let words = match origin {
        Origin::Descriptor(number) => {
            let what = || format!("descriptor {number} that the description is to come from");
            let mut file = fs::File::from(valkka_command::take(*number).with_context(what)?);
            let mut text = String::new();
            file.read_to_string(&mut text).with_context(what)?;
            let words = text.split('\0').filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        }
        Origin::File(path) => {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            code.flat_map(str::split_whitespace).map(str::to_owned).collect()
        }
        Origin::Words(words) => words.clone(),
    };
    if words.is_empty() { bail!("the description is empty") } else { Ok(words) }
}

/// The pipeline that the words describe.
pub fn parse(words: &[String]) -> Result<gst::Pipeline, Unusable> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut context = gst::ParseContext::new();
    // An error that is not fatal for GStreamer leaves a pipeline of which a part is missing.
    let parsed = gst::parse::launchv_full(&words, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    let element = parsed.map_err(|error| {
        let missing = context.missing_elements();
        // The list also has elements that are there, with a property that they do not have.
        if missing.is_empty() || !error.matches(gst::ParseError::NoSuchElement) {
            Unusable(format!("the description is not right: {error}"))
        } else {
            let names: Vec<_> = missing.iter().map(|name| name.to_string()).collect();
            Unusable(format!("GStreamer has no element {}; `valkka doctor` tells what to install", names.join(", ")))
        }
    })?;
    match element.downcast::<gst::Pipeline>() {
        Ok(pipeline) => Ok(pipeline),
        Err(element) => {
            let pipeline = gst::Pipeline::new();
            pipeline.add(&element).expect("a parsed element has no parent");
            Ok(pipeline)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn files_may_have_comments_and_lines() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# a test\nfakesrc num-buffers=1\n  # more\n  ! fakesink\n").unwrap();
        let words = words(&Origin::File(file.path().into())).unwrap();
        assert_eq!(words, ["fakesrc", "num-buffers=1", "!", "fakesink"]);
        assert!(super::words(&Origin::Words(Vec::new())).is_err());
    }

    #[test]
    fn a_word_may_have_blanks() {
        gst::init().unwrap();
        let words = ["fakesrc", "name=a", "!", "filesink", "name=b", "location=/tmp/a b\"c!"].map(str::to_owned);
        let pipeline = parse(&words).unwrap();
        assert_eq!(pipeline.by_name("b").unwrap().property::<String>("location"), "/tmp/a b\"c!");
    }

    #[test]
    fn what_cannot_be_run_is_told_in_words() {
        gst::init().unwrap();
        let said = |text: &str| {
            let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            parse(&words).unwrap_err().to_string()
        };
        assert!(said("fakesrc ! nosuchelement").contains("nosuchelement"));
        assert!(said("fakesrc nothing=1 ! fakesink").contains("nothing"));
        assert!(said("fakesrc ! ! fakesink").contains("not right"));
        assert!(parse(&["fakesrc".to_owned()]).is_ok());
    }
}
