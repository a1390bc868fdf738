//! Who may ask for something: pages by their origin, everybody by the token.
//!
//! Browsers let any page connect to any address and tell whose page it is (`Origin`); programs tell nothing. So the origin keeps
//! foreign pages out, and only the token keeps people and programs out. It comes as
//!
//! | | |
//! | --- | --- |
//! | `Authorization: Bearer TOKEN` | programs, proxies |
//! | `?token=TOKEN` | WebSockets of browsers, which cannot send headers of their own; players of `/NAME.mp4` |
//! | a cookie | what a page that was opened with `?token=TOKEN` asks for. Not the token itself: a secret of this listener |

use axum::extract::Query;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, COOKIE,
    HOST, ORIGIN, REFERRER_POLICY, SET_COOKIE, VARY, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio_rustls::rustls::crypto::ring;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Pages of which sites may use a listener, besides its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    all: bool,
    named: Vec<String>,
}

impl Origins {
    /// Reads `https://a.example, https://b.example:8443`, or `*` for all. `Err`: the part that is no origin.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut origins = Self::default();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            if word == "*" {
                origins.all = true;
                continue;
            }
            let origin = plain_origin(word.strip_suffix('/').unwrap_or(word)).ok_or(word)?;
            origins.named.push(origin);
        }
        Ok(origins)
    }

    fn none(&self) -> bool {
        !self.all && self.named.is_empty()
    }

    fn contain(&self, origin: &str) -> bool {
        self.all || plain_origin(origin).is_some_and(|origin| self.named.contains(&origin))
    }
}

/// `scheme://host[:port]` in small letters and without the scheme's own port.
fn plain_origin(origin: &str) -> Option<String> {
    let (scheme, authority) = origin.split_once("://")?;
    let valid = !scheme.is_empty() && !authority.is_empty() && !authority.contains('/');
    valid.then(|| format!("{}://{}", scheme.to_ascii_lowercase(), plain_authority(scheme, authority)))
}

fn plain_authority(scheme: &str, authority: &str) -> String {
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase()
}

/// The rules of one listener.
pub struct Access {
    token: Option<String>,
    origins: Origins,
    /// What the cookie says, in hexadecimal digits.
    session: String,
    /// The cookie never leaves the browser unencrypted.
    secure: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    Origin,
    Token,
}

/// What the answer to a permitted request says beside its content.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Permit {
    /// The origin of another site that may read the answer.
    origin: Option<String>,
    cookie: Option<String>,
}

#[derive(Deserialize)]
struct WithToken {
    token: Option<String>,
}

impl Access {
    /// `secure`: the listener speaks TLS.
    pub fn new(token: Option<String>, origins: Origins, secure: bool) -> Self {
        let mut secret = [0; 16];
        // Fails only when the kernel has no random numbers; then no cookie is right, and every request needs the token.
        let random = ring::default_provider().secure_random.fill(&mut secret).is_ok();
        let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { token, origins, session: if random { digits } else { String::new() }, secure }
    }

    /// Whether a request may be answered.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Permit, Denied> {
        let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
        let foreign = origin.filter(|origin| !self.own_page(origin, headers));
        if foreign.is_some_and(|origin| !self.origins.contain(origin)) {
            return Err(Denied::Origin);
        }
        let mut permit = Permit { origin: foreign.map(Into::into), cookie: None };
        let Some(token) = &self.token else { return Ok(permit) };
        // A browser asks without credentials whether it may ask with them.
        if method == Method::OPTIONS && foreign.is_some() {
            return Ok(permit);
        }
        let in_query = Query::<WithToken>::try_from_uri(uri).ok().and_then(|Query(query)| query.token);
        if in_query.is_some_and(|given| same(&given, token)) {
            permit.cookie = (uri.path() == "/" && !self.session.is_empty()).then(|| self.cookie(headers));
            return Ok(permit);
        }
        let bearer = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()).and_then(bearer);
        let right = bearer.is_some_and(|given| same(given, token)) || self.knows_cookie(headers);
        if right { Ok(permit) } else { Err(Denied::Token) }
    }

    /// Adds what belongs to every answer.
    pub fn mark(&self, permit: Permit, headers: &mut HeaderMap) {
        // The token may stand in an address, and is no other site's business.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let policy = if self.origins.none() { "same-origin" } else { "cross-origin" };
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static(policy));
        if let Some(origin) = permit.origin.and_then(|origin| HeaderValue::try_from(origin).ok()) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization"));
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(cookie) = permit.cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
            headers.insert(SET_COOKIE, cookie);
        }
    }

    /// A page of this server: the same host and port as it was asked at. A proxy must pass Host on as it came. What speaks TLS has
    /// no page without: that one may be of whoever sits on the line.
    fn own_page(&self, origin: &str, headers: &HeaderMap) -> bool {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let (Some(host), Some((scheme, authority))) = (host, origin.split_once("://")) else { return false };
        let safe = !self.secure || scheme.eq_ignore_ascii_case("https");
        safe && plain_authority(scheme, authority) == plain_authority(scheme, host)
    }

    fn cookie(&self, headers: &HeaderMap) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict{secure}", cookie_name(headers), self.session)
    }

    fn knows_cookie(&self, headers: &HeaderMap) -> bool {
        let name = cookie_name(headers);
        let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let mut pairs = cookies.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
        !self.session.is_empty() && pairs.any(|(key, value)| key == name && same(value, &self.session))
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        match self {
            Self::Origin => (
                StatusCode::FORBIDDEN,
                "this page is of another site than the stream; fmp4wssink's allowed-origins can name it\n",
            )
                .into_response(),
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                [(WWW_AUTHENTICATE, "Bearer")],
                "a token is needed: 'Authorization: Bearer TOKEN', or ?token=TOKEN\n",
            )
                .into_response(),
        }
    }
}

/// Takes as long for a wrong token as for the right one.
fn same(given: &str, right: &str) -> bool {
    given.as_bytes().ct_eq(right.as_bytes()).into()
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Browsers keep cookies by host: two listeners of a host must not take each other's.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port =
        host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    format!("fmp4ws{}", port.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(access: &Access, uri: &str, pairs: &[(&str, &str)]) -> Result<Permit, Denied> {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "cams.example:8080")].iter().chain(pairs) {
            let name = HeaderName::try_from(*name).expect("a header's name");
            headers.insert(name, value.parse().expect("a header's value"));
        }
        access.check(&Method::GET, &uri.parse().expect("a path"), &headers)
    }

    fn open(origins: &str) -> Access {
        Access::new(None, Origins::read(origins).expect("origins"), false)
    }

    #[test]
    fn only_pages_of_the_same_host_may_ask() {
        let access = open("");
        let allowed = |host: &str, origin: &str| check(&access, "/", &[("host", host), ("origin", origin)]).is_ok();
        assert!(check(&access, "/", &[]).is_ok());
        assert!(allowed("cams.example:8080", "http://cams.example:8080"));
        assert!(allowed("cams.example", "https://Cams.example:443"));
        assert!(allowed("cams.example:443", "https://cams.example"));
        assert!(!allowed("cams.example:8080", "http://evil.example"));
        assert!(!allowed("cams.example:8080", "http://cams.example:8081"));
        assert!(!allowed("cams.example", "null"));
    }

    #[test]
    fn what_speaks_tls_has_no_page_without() {
        let access = Access::new(None, Origins::default(), true);
        let allowed = |origin: &str| check(&access, "/", &[("host", "cams.example"), ("origin", origin)]).is_ok();
        assert_eq!(["https://cams.example", "http://cams.example"].map(allowed), [true, false]);
    }

    #[test]
    fn pages_of_named_sites_may_ask_and_read() {
        let access = open("https://Wall.example:443/, http://[::1]:3000");
        for origin in ["https://wall.example", "http://[::1]:3000"] {
            let permit = check(&access, "/", &[("origin", origin)]).expect("it is named");
            assert_eq!(permit.origin.as_deref(), Some(origin));
        }
        assert_eq!(check(&access, "/", &[("origin", "http://wall.example")]), Err(Denied::Origin));
        assert_eq!(check(&access, "/", &[("origin", "https://wall.example.evil.example")]), Err(Denied::Origin));
        assert!(check(&open("*"), "/", &[("origin", "null")]).is_ok());
        assert_eq!(Origins::read("https://a.example wall.example"), Err("wall.example".into()));
    }

    #[test]
    fn the_token_comes_as_a_header_in_the_query_or_once_as_a_cookie() {
        let access = Access::new(Some("s3&cret".into()), Origins::default(), true);
        let denied = |uri: &str, pairs: &[(&str, &str)]| check(&access, uri, pairs) == Err(Denied::Token);
        assert!(denied("/", &[]));
        assert!(denied("/?token=s3", &[]));
        assert!(denied("/?token=", &[]));
        assert!(denied("/", &[("authorization", "Bearer s3&cretx")]));
        assert!(denied("/", &[("authorization", "Basic s3&cret")]));
        assert!(denied("/", &[("cookie", "fmp4ws8080=")]));
        assert!(!denied("/", &[("authorization", "bearer s3&cret")]));
        assert!(!denied("/api/ws?src=a&token=s3%26cret", &[]));

        let permit = check(&access, "/?token=s3%26cret", &[]).expect("it is right");
        let cookie = permit.cookie.expect("the page was opened with it");
        assert!(cookie.contains("HttpOnly; SameSite=Strict; Secure") && !cookie.contains("s3"), "{cookie}");
        let (pair, _) = cookie.split_once(';').expect("it has attributes");
        assert!(!denied("/api/streams", &[("cookie", &format!("other=1; {pair}"))]));
        assert!(denied("/api/streams", &[("cookie", pair), ("host", "cams.example:8081")]));
    }
}
