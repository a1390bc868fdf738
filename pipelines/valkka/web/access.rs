//! Who may ask: checks before every request that comes over the network. The control socket has its file mode instead.
//!
//! | check | against | answer |
//! | --- | --- | --- |
//! | `Host` is an address, `localhost`, or allowed; any if there is a token | a page that lets its own name point to this machine (DNS rebinding) | 421 |
//! | `Origin` is this very server, or allowed | another site's page that opens a WebSocket or posts | 403 |
//! | `Sec-Fetch-Site` is not another site, but for opening the page | another site's page that embeds a picture | 403 |
//! | the token, if there is one, for `/api/` and `/metrics` | everybody else | 401 |
//!
//! A token comes as `Authorization: Bearer TOKEN`, as `?token=TOKEN` (for WebSockets of programs), or as the cookie
//! that `POST /api/login` sets (for the page).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::problem::Problem;

/// Who may ask what.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What a client has to know; without one, everybody who can connect may do everything.
    pub token: Option<Token>,
    /// Pages that may use this server beside its own, as browsers say it: `https://cams.example`.
    pub allowed_origins: Vec<String>,
    /// The port speaks TLS: cookies may then not travel without.
    pub secure: bool,
    /// Nobody but this user comes here at all: a socket with a file mode.
    pub private: bool,
}

/// A shared secret. Never shown.
#[derive(Clone)]
pub struct Token(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the token has to be at least {least} characters long, of A-Z, a-z, 0-9 and -._~", least = Token::LEAST)]
pub struct TokenError;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What needs no token: the page's own files hold nothing, and a probe should not have to know it.
const OPEN_API: [&str; 3] = ["/healthz", "/api/login", "/api/openapi.json"];

impl Token {
    /// What an attacker cannot try out.
    const LEAST: usize = 8;

    /// Characters that need no quoting in a URI, a header or a cookie.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        if text.len() >= Self::LEAST && text.bytes().all(plain) { Ok(Self(text.to_owned())) } else { Err(TokenError) }
    }

    /// Takes as long for a nearly right text as for a wrong one.
    pub fn is(&self, text: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), text.as_bytes());
        ours.len() == theirs.len() && ours.iter().zip(theirs).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Lets a request through, or answers why not.
pub async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let allowed = request.headers().get(header::ORIGIN).filter(|origin| access.lists(origin)).cloned();
    let mut response = match access.refuses(request.method(), request.uri(), request.headers()) {
        Some(problem) => problem.into_response(),
        // A browser asks first whether it may. Only pages that are allowed get here with another origin.
        None if allowed.is_some() && request.method() == Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        None => next.run(request).await,
    };
    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

impl Access {
    /// Whoever gets here is this user, or was given the token. A port without one is open to every user of the machine.
    pub fn is_of_the_user(&self) -> bool {
        self.private || self.token.is_some()
    }

    fn refuses(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Problem> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        if self.token.is_none() && !self.may_be_our_name(host) {
            let message = format!(
                "{host:?} may be another site's name for this machine. Use its address, set a token, or allow the \
                 origin http://{host}"
            );
            return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, message));
        }
        let foreign = match headers.get(header::ORIGIN) {
            Some(origin) => !self.lists(origin) && !is_of(origin, host),
            None => {
                headers.get(SITE).is_some_and(|site| site != "same-origin" && site != "none") && !opens(method, uri)
            }
        };
        if foreign {
            let message = "requests of other sites' pages are refused; allowed-origins names those that may";
            return Some(Problem::new(StatusCode::FORBIDDEN, message));
        }
        // What asks whether it may ask cannot carry a token.
        let preflight = method == Method::OPTIONS && headers.contains_key(header::ORIGIN);
        if needs_token(uri.path()) && !preflight && !self.knows_token(uri, headers) {
            let message = "a token is needed: as Bearer in the header Authorization, or by POST /api/login";
            return Some(Problem::new(StatusCode::UNAUTHORIZED, message));
        }
        None
    }

    /// Addresses, and names that no other site can have.
    fn may_be_our_name(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<std::net::IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.allowed_origins.iter().any(|origin| authority(origin).is_some_and(|known| known == host))
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.allowed_origins.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
    }

    fn knows_token(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let query = uri.query().unwrap_or("").split('&').find_map(|pair| pair.strip_prefix("token="));
        let name = cookie_name(headers);
        let cookies = text(header::COOKIE).unwrap_or("").split(';');
        let cookie = cookies.filter_map(|cookie| cookie.trim().split_once('=')).find(|(key, _)| *key == name);
        [bearer, query, cookie.map(|(_, value)| value)].into_iter().flatten().any(|given| token.is(given))
    }

    /// The header that makes a browser remember the token, or forget it.
    pub fn cookie(&self, headers: &HeaderMap, token: Option<&str>) -> String {
        let (value, age) = token.map_or(("", 0), |token| (token, 365 * 24 * 3600));
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}", cookie_name(headers))
    }
}

/// Cookies know no ports: without its port in the name, one orchestrator would log another one of the machine out.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let port = host[without_port(host).len()..].trim_start_matches(':');
    if port.is_empty() { "valkka".into() } else { format!("valkka-{port}") }
}

fn needs_token(path: &str) -> bool {
    (path.starts_with("/api/") || path == "/metrics") && !OPEN_API.contains(&path)
}

/// A link on another site may open the page, as any link may.
fn opens(method: &Method, uri: &Uri) -> bool {
    method == Method::GET && uri.path() == "/"
}

/// The origin is the server that was asked. Browsers leave the usual ports out of one and sometimes not of the other.
fn is_of(origin: &HeaderValue, host: &str) -> bool {
    let Some((scheme, ours)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let port = if scheme == "https" { ":443" } else { ":80" };
    let plain = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    plain(ours) == plain(host)
}

fn authority(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, authority)| authority)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(access: &Access, method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in [("host", "127.0.0.1:8080")].iter().chain(headers) {
            map.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let problem = access.refuses(&method.parse().unwrap(), &uri.parse().unwrap(), &map)?;
        Some(problem.into_response().status().as_u16())
    }

    fn with_token() -> Access {
        Access { token: Some(Token::new("correct-horse").unwrap()), ..Access::default() }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let access = Access::default();
        for (origin, answer) in [
            ("http://127.0.0.1:8080", None),
            ("http://127.0.0.1:9999", Some(403)),
            ("https://example.org", Some(403)),
            ("null", Some(403)),
        ] {
            assert_eq!(refused(&access, "GET", "/api/events", &[("origin", origin)]), answer, "{origin}");
        }
        assert_eq!(refused(&access, "GET", "/api/status", &[]), None, "programs say nothing of an origin");
    }

    #[test]
    fn a_picture_cannot_be_embedded_elsewhere_but_the_page_can_be_linked() {
        let access = Access::default();
        let foreign = [("sec-fetch-site", "cross-site")];
        assert_eq!(refused(&access, "GET", "/api/cameras/lobby/frame.jpeg", &foreign), Some(403));
        assert_eq!(refused(&access, "GET", "/", &foreign), None);
        assert_eq!(refused(&access, "GET", "/api/status", &[("sec-fetch-site", "same-origin")]), None);
    }

    #[test]
    fn names_that_others_could_point_here_need_a_token() {
        let access = Access { allowed_origins: vec!["http://nvr.lan:8080".into()], ..Access::default() };
        for (host, answer) in [
            ("localhost:8080", None),
            ("[::1]:8080", None),
            ("nvr.lan:8080", None),
            ("evil.example:8080", Some(421)),
            ("", Some(421)),
        ] {
            assert_eq!(refused(&access, "GET", "/api/status", &[("host", host)]), answer, "{host}");
        }
        let bearer = ("authorization", "Bearer correct-horse");
        assert_eq!(refused(&with_token(), "GET", "/api/status", &[("host", "cams.example"), bearer]), None);
    }

    #[test]
    fn a_token_opens_in_three_ways_and_only_if_it_is_right() {
        let access = with_token();
        assert_eq!(refused(&access, "GET", "/api/status", &[]), Some(401));
        assert_eq!(refused(&access, "GET", "/metrics", &[("authorization", "Bearer correct-hors")]), Some(401));
        assert_eq!(refused(&access, "GET", "/metrics", &[("authorization", "Bearer correct-horse")]), None);
        assert_eq!(refused(&access, "GET", "/api/events?only=log&token=correct-horse", &[]), None);
        let cookie = access
            .cookie(&HeaderMap::from_iter([(header::HOST, "127.0.0.1:8080".parse().unwrap())]), Some("correct-horse"));
        let pair = cookie.split(';').next().unwrap();
        assert_eq!(refused(&access, "GET", "/api/status", &[("cookie", &format!("a=b; {pair}"))]), None);
        for open in ["/", "/healthz", "/page.js"] {
            assert_eq!(refused(&access, "GET", open, &[]), None, "{open}");
        }
    }

    #[test]
    fn a_token_is_long_enough_and_plain() {
        assert!(Token::new("short").is_err());
        assert!(Token::new("with blanks in it").is_err());
        assert!(!format!("{:?}", Token::new("correct-horse").unwrap()).contains("horse"));
    }
}
