//! The server name in a ClientHello.

use core::net::IpAddr;

use ipc::bounded::Text;
use ipc::tls::ServerName;
use tls::codec::Reader;
use tls::is_dns_name;
use tls::server_name::{HOST_NAME, next_name};

use crate::script::{DECODE, ILLEGAL, Refusal};

/// RFC 6066 §3: one DNS name, or nothing. As in autonomous mode: an address
/// is as good as not there, and anything else is refused.
pub(crate) fn server_name(content: &mut Reader<'_>) -> Result<Option<ServerName>, Refusal> {
    let mut list = content.vec16()?;
    if list.is_empty() {
        return Err(DECODE);
    }
    let mut found = None;
    while let Some((kind, name)) = next_name(&mut list)? {
        if kind != HOST_NAME {
            continue;
        }
        if found.is_some() || name.is_empty() {
            return Err(ILLEGAL);
        }
        let name = core::str::from_utf8(name).map_err(|_| ILLEGAL)?;
        // One that is absolute is taken there, too.
        found = Some(name.strip_suffix('.').unwrap_or(name));
    }
    match found {
        None => Ok(None),
        Some(name) if name.parse::<IpAddr>().is_ok() => Ok(None),
        Some(name) if is_dns_name(name) => Text::from_text(name).map(Some).map_err(|_| ILLEGAL),
        Some(_) => Err(ILLEGAL),
    }
}
