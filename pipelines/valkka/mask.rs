//! Takes credentials out of text, before anybody sees it.
//!
//! Every line that a process prints, every reason, every URI that is logged or answered goes through [`mask`]. It
//! knows the forms in which cameras' passwords travel: the user info of a URI, query parameters, `Authorization`
//! headers, element properties. In doubt it hides too much: a hidden host name is a nuisance, a shown password is not.
//! Secrets that the configuration brings are told to it ([`keep_secret`]), and hidden wherever they turn up.

use std::sync::RwLock;

/// Keys whose value is nobody's business, in a URI's query, in JSON or as an element's property.
const SECRET_KEYS: [&str; 10] =
    ["password", "passwd", "passphrase", "pwd", "pass", "user-pw", "token", "secret", "api_key", "apikey"];

const MASK: &str = "***";

/// Secrets that are known by heart.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Shorter ones would turn up everywhere, in words that have nothing to do with them.
const SHORTEST_SECRET: usize = 4;

/// From now on this text is hidden, whatever stands around it.
pub fn keep_secret(text: &str) {
    let mut secrets = SECRETS.write().expect("nothing panics under this lock");
    if text.len() >= SHORTEST_SECRET && !secrets.iter().any(|secret| secret == text) {
        secrets.push(text.to_owned());
        // A secret that is part of another comes after it.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }
}

/// The text without its credentials: `rtsp://admin:12345@cam/1` becomes `rtsp://***@cam/1`.
pub fn mask(text: &str) -> String {
    mask_authorization(&mask_keys(&mask_user_info(&mask_known(text))))
}

fn mask_known(text: &str) -> String {
    let secrets = SECRETS.read().expect("nothing panics under this lock");
    let hide = |text: String, secret: &String| if text.contains(secret) { text.replace(secret, MASK) } else { text };
    secrets.iter().fold(text.to_owned(), hide)
}

/// Whether a URI carries a password that would stand in an argument list for all to see.
pub fn has_password(uri: &str) -> bool {
    let user_info = uri.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    user_info.is_some_and(|(user, _)| user.contains(':')) || mask_keys(uri) != uri
}

/// Whatever stands between `://` and the last `@` of the same word. Passwords that hold `/`, `?` or `@` themselves
/// (wrong, but common) are covered; a path with an `@` loses its host name.
fn mask_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        out.push_str(before);
        let next = after.find("://").unwrap_or(after.len());
        let end = after[..next].find(ends_word).unwrap_or(next);
        // A second URI in the same word (`a://x,b://y@z`) is looked at on its own.
        let second = end == next && next < after.len();
        let end = if second { after[..next].rfind(|c: char| !c.is_alphanumeric()).unwrap_or(0) } else { end };
        match after[..end].rfind('@') {
            Some(at) => {
                out.push_str(MASK);
                out.push_str(&after[at..end]);
            }
            None => out.push_str(&after[..end]),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`')
}

/// The value behind `key=`, `key: ` or `"key":"`.
fn mask_keys(text: &str) -> String {
    // Lower-casing ASCII only keeps every byte where it is, so that places found here hold in `text`.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while let Some((start, end)) = next_value(&lower, done) {
        out.push_str(&text[done..start]);
        out.push_str(MASK);
        done = end;
    }
    out.push_str(&text[done..]);
    out
}

/// Where the next secret value begins and ends, at or after `from`.
fn next_value(lower: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = lower.as_bytes();
    (from..bytes.len()).find_map(|start| {
        let alone = start == 0 || !bytes[start - 1].is_ascii_alphanumeric();
        let keys = SECRET_KEYS.iter().filter(|key| alone && bytes[start..].starts_with(key.as_bytes()));
        // The longest: `password`, not `pass`.
        let len = keys.map(|key| key.len()).max()?;
        value_after(lower, start + len)
    })
}

/// `=` or `:` with quotes and a blank around it, and then the value, which a separator ends.
fn value_after(lower: &str, end_of_key: usize) -> Option<(usize, usize)> {
    let after = lower[end_of_key..].trim_start_matches(['"', '\'', '\\']);
    let value = after.strip_prefix(['=', ':'])?.trim_start_matches([' ', '"', '\'', '\\']);
    let len =
        value.find(|c: char| ends_word(c) || matches!(c, '&' | ',' | ';' | '\\' | '}' | '#')).unwrap_or(value.len());
    let start = lower.len() - value.len();
    (len > 0).then_some((start, start + len))
}

/// `Authorization: Digest ...` up to the end of the line.
fn mask_authorization(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(found) = lower[done..].find("authorization:") {
        let value = done + found + "authorization:".len();
        let end = lower[value..].find(['\n', '\r']).map_or(text.len(), |line| value + line);
        out.push_str(&text[done..value]);
        out.push(' ');
        out.push_str(MASK);
        done = end;
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_of_a_uri_is_masked() {
        assert_eq!(mask("rtsp://admin:12345@10.0.0.4:554/live"), "rtsp://***@10.0.0.4:554/live");
        assert_eq!(mask("rtsp://admin@cam/1"), "rtsp://***@cam/1");
        assert_eq!(mask("location=\"rtsp://u:p@cam/1\" latency=0"), "location=\"rtsp://***@cam/1\" latency=0");
    }

    #[test]
    fn passwords_with_separators_in_them_do_not_leak() {
        assert_eq!(mask("rtsp://admin:p@ss@cam/1"), "rtsp://***@cam/1");
        assert_eq!(mask("rtsp://admin:12/34?5@cam/1"), "rtsp://***@cam/1");
        assert_eq!(mask("rtsp://admin:a%40b@cam/1"), "rtsp://***@cam/1");
    }

    #[test]
    fn every_uri_of_a_line_is_masked() {
        assert_eq!(mask("from rtsp://a:b@c to http://d:e@f, then"), "from rtsp://***@c to http://***@f, then");
        assert_eq!(mask("rtsp://cam/1,rtsp://a:b@cam/2"), "rtsp://cam/1,rtsp://***@cam/2");
    }

    #[test]
    fn query_parameters_properties_and_json_are_masked() {
        assert_eq!(mask("rtsp://cam/user=admin&password=12345&ch=1"), "rtsp://cam/user=admin&password=***&ch=1");
        assert_eq!(mask("http://cam/s?usr=a&PWD=x#y"), "http://cam/s?usr=a&PWD=***#y");
        assert_eq!(mask("rtspsrc user-id=a user-pw=hush latency=0"), "rtspsrc user-id=a user-pw=*** latency=0");
        assert_eq!(mask(r#"{"user":"a","password":"b c"}"#), r#"{"user":"a","password":"*** c"}"#);
        assert_eq!(mask("Password: hush"), "Password: ***");
    }

    #[test]
    fn authorization_headers_are_masked_to_the_end_of_the_line() {
        assert_eq!(mask("Authorization: Basic YWRt\nHost: cam"), "Authorization: ***\nHost: cam");
    }

    #[test]
    fn text_without_credentials_stays_as_it_is() {
        for text in
            ["rtsp://cam/1", "a@b", "bypass=true", "compass: north", "", "password", "ERROR: no picture", "ü://é"]
        {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn a_line_of_keys_and_uris_without_end_takes_no_time() {
        for part in ["pass", "pass=", "a://", "a://b@", "pass\"", "Authorization: "] {
            let line = part.repeat(300_000 / part.len());
            let begun = std::time::Instant::now();
            mask(&line);
            // Milliseconds. What grows with the square of its length takes minutes.
            assert!(begun.elapsed().as_secs() < 20, "{part}: {:?}", begun.elapsed());
        }
    }

    #[test]
    fn a_password_in_a_uri_is_noticed() {
        assert!(has_password("rtsp://admin:12345@cam/1"));
        assert!(has_password("rtsp://cam/user=admin&password=12345"));
        assert!(!has_password("rtsp://admin@cam/1"));
        assert!(!has_password("rtsp://cam:554/1"));
    }
}
