use poem::Request;

use crate::problem::{Kind, Problem};

/// Rejects a header that is sent twice, or is not ASCII. The extractor of parameters takes the
/// first value that it can read, as if the client had sent nothing else.
///
/// # Errors
/// A 400 that names the header.
pub(crate) fn require_one_ascii_header(request: &Request, name: &str) -> Result<(), Problem> {
    let mut values = request.headers().get_all(name).iter();
    let reason = match (values.next(), values.next()) {
        (_, Some(_)) => "sent more than once",
        (Some(value), None) if value.to_str().is_err() => "not ASCII",
        _ => return Ok(()),
    };
    let detail = format!("the header {name} is {reason}; send it once, in visible ASCII");
    Err(Problem::new(Kind::BadRequest, detail))
}
