//! Lists of registry numbers.

use ipc::bounded::List;
use tls::codec::{DecodeError, Reader};

/// The values in a list that this side knows, each once. `N` is at least as many as
/// there are.
pub(crate) fn known<T: PartialEq, const N: usize>(
    list: &mut Reader<'_>,
    from_number: impl Fn(u16) -> Option<T>,
) -> Result<List<T, N>, DecodeError> {
    let mut found = List::new();
    while let Some(number) = list.next_u16()? {
        note(&mut found, from_number(number));
    }
    Ok(found)
}

/// Adds a value that this side knows, once.
pub(crate) fn note<T: PartialEq, const N: usize>(list: &mut List<T, N>, value: Option<T>) {
    if let Some(value) = value.filter(|value| !list.contains(value)) {
        // As many places as there are values.
        let _ = list.push(value);
    }
}
