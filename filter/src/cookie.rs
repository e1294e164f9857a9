//! The Set-Cookie line of an issued unit. Its parts are checked when the config is read, so nothing
//! needs escaping here; `cookie`, the crate, would bring a calendar into the module.

use graylane_policy::raw::{RawCookie, SameSite};

/// The value of `set-cookie` (RFC 6265, section 4.1.1). `HttpOnly`: no script has a use for it.
pub fn set_cookie(cookie: &RawCookie, unit: &[u8; 32]) -> String {
    let same_site = match cookie.same_site {
        SameSite::Lax => "Lax",
        SameSite::Strict => "Strict",
        SameSite::None => "None",
    };
    let secure = if cookie.secure { "; Secure" } else { "" };
    let unit = String::from_utf8_lossy(unit);
    format!(
        "{}={unit}; Max-Age={}; Path={}; HttpOnly; SameSite={same_site}{secure}",
        cookie.name, cookie.max_age_seconds, cookie.path
    )
}
