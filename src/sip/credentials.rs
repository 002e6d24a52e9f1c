//! Credentials and challenges: `Digest username="alice", realm="example.com"` (RFC 3261 25.1).

use super::list::ListValues;
use super::octets::{count_while, is_space, trim, trim_end, trim_start, unquote};

/// The value of Authorization, Proxy-Authorization, WWW-Authenticate or Proxy-Authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The scheme as written, such as `Digest`; never empty.
    pub scheme: &'a [u8],
    /// All fields, from the first one.
    pub fields: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// Reads the value; `None` without a scheme.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = trim(value);
        let (scheme, rest) = value.split_at(count_while(value, |byte| !is_space(byte)));
        (!scheme.is_empty()).then(|| Self { scheme, fields: trim_start(rest) })
    }

    /// Whether the scheme is Digest (RFC 8760).
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"Digest")
    }

    /// The fields in order: name and value, quotes kept. Fields without `=` are passed over.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        ListValues::new(self.fields).filter_map(|field| {
            let equals = memchr::memchr(b'=', field)?;
            let name = trim_end(&field[..equals]);
            (!name.is_empty()).then(|| (name, trim(&field[equals + 1..])))
        })
    }

    /// The value, without quotes, of the first field of this name; may be empty.
    pub fn field(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| unquote(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_without_their_quotes() {
        let value =
            b"Digest username=\"alice\", realm=\"r.com\",\r\n uri=\"sip:u;a,b\" , algorithm=MD5, opaque=\"\"";
        let credentials = Credentials::parse(value).unwrap();
        assert!(credentials.is_digest());
        let rows: &[(&[u8], Option<&[u8]>)] = &[
            (b"username", Some(b"alice")),
            (b"Realm", Some(b"r.com")),
            (b"uri", Some(b"sip:u;a,b")),
            (b"algorithm", Some(b"MD5")),
            (b"opaque", Some(b"")),
            (b"cnonce", None),
        ];
        for (name, expected) in rows {
            assert_eq!(credentials.field(name), *expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn values_cut_off_anywhere_are_survived() {
        let value = b"Digest username=\"alice\", realm=\"r\", response=";
        for end in 0..=value.len() {
            let fields = Credentials::parse(&value[..end]).map_or(0, |c| c.iter().count());
            assert!(fields <= 3);
        }
        assert_eq!(Credentials::parse(b"Digest response=").unwrap().field(b"response"), Some(&b""[..]));
        assert_eq!(Credentials::parse(b"  "), None);
    }
}
