//! Content encodings of bodies: gzip and deflate, both ways, bounded.

use std::io::{Read, Write};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderValue, header};
use nereid_core::{Error, Result};

use crate::in_flight::{Held, LARGE};

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

/// Why data does not decompress.
#[derive(Debug)]
pub(crate) enum Inflate {
    Broken(std::io::Error),
    TooLong,
    /// There is no room for it.
    Refused(Error),
}

impl Encoding {
    /// The encoding of a request; `None` for any other than ours.
    pub(crate) fn of_request(headers: &HeaderMap) -> Option<Self> {
        match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => Some(Self::Identity),
            Some(b"gzip") => Some(Self::Gzip),
            Some(b"deflate") => Some(Self::Deflate),
            Some(_) => None,
        }
    }

    /// The encoding that a client likes best: the highest quality, of equals the first named.
    pub(crate) fn of_response(headers: &HeaderMap) -> Self {
        let Some(accepted) = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()) else {
            return Self::Identity;
        };
        let mut best = (Self::Identity, 0.0);
        for part in accepted.split(',') {
            let (name, quality) = part.split_once(';').unwrap_or((part, "q=1"));
            let quality =
                quality.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
            let encoding = match name.trim() {
                "gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                "identity" => Self::Identity,
                _ => continue,
            };
            if quality > best.1 {
                best = (encoding, quality);
            }
        }
        best.0
    }

    /// The header's value.
    pub(crate) fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Deflate => Some(HeaderValue::from_static("deflate")),
        }
    }

    /// Decompresses `body` to at most `limit` bytes, which `held` has afterwards.
    ///
    /// # Errors
    /// `InvalidArg` when the data is broken or longer; those of [`Held::grow`].
    pub(crate) fn decode(self, body: Bytes, limit: usize, held: &mut Held) -> Result<Bytes> {
        if self == Self::Identity {
            return Ok(body);
        }
        let data = self.inflate(&body, limit, held).map_err(|e| match e {
            Inflate::Broken(e) => Error::invalid_arg(format!("failed to decompress the request body: {e}")),
            Inflate::TooLong => Error::invalid_arg(format!(
                "Decompressed data size exceeds the maximum allowed value of {limit} bytes. Use --http-max-input-size \
                 to increase the limit."
            )),
            Inflate::Refused(error) => error,
        })?;
        held.set(data.len());
        Ok(data.into())
    }

    /// What `data` decompresses to, if that is no more than `limit` bytes. Memory grows with what comes out, and `held`
    /// with it.
    ///
    /// # Errors
    /// See [`Inflate`].
    pub(crate) fn inflate(
        self,
        data: &[u8],
        limit: usize,
        held: &mut Held,
    ) -> std::result::Result<Vec<u8>, Inflate> {
        match self {
            Self::Identity if data.len() > limit => Err(Inflate::TooLong),
            Self::Identity => Ok(data.to_vec()),
            // It refuses itself what follows the last member.
            Self::Gzip => read_to_end(&mut MultiGzDecoder::new(data), limit, held),
            Self::Deflate => {
                let mut decoder = ZlibDecoder::new(data);
                let inflated = read_to_end(&mut decoder, limit, held)?;
                match decoder.into_inner().len() {
                    0 => Ok(inflated),
                    rest => {
                        Err(Inflate::Broken(std::io::Error::other(format!("{rest} bytes follow its end"))))
                    }
                }
            }
        }
    }

    /// Compresses the parts of a body into one; `None` when it stays as it is.
    pub(crate) fn encode(self, parts: &[Bytes]) -> Option<Bytes> {
        let joined = BytesMut::new();
        match self {
            Self::Identity => None,
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Joined(joined), Compression::fast());
                parts.iter().try_for_each(|part| encoder.write_all(part)).ok()?;
                encoder.finish().ok().map(|joined| joined.0.freeze())
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Joined(joined), Compression::fast());
                parts.iter().try_for_each(|part| encoder.write_all(part)).ok()?;
                encoder.finish().ok().map(|joined| joined.0.freeze())
            }
        }
    }
}

fn read_to_end(
    decoder: &mut impl Read,
    limit: usize,
    held: &mut Held,
) -> std::result::Result<Vec<u8>, Inflate> {
    let mut inflated = Vec::new();
    let bound = (limit as u64).saturating_add(1);
    let mut metered = Metered { data: decoder.take(bound), held, free: LARGE, refused: None };
    if let Err(e) = metered.read_to_end(&mut inflated) {
        return Err(metered.refused.map_or(Inflate::Broken(e), Inflate::Refused));
    }
    if inflated.len() > limit { Err(Inflate::TooLong) } else { Ok(inflated) }
}

/// Data whose memory is held as it comes, but for so little that a question about the server's health may have it.
struct Metered<'h, R> {
    data: R,
    held: &'h mut Held,
    free: usize,
    refused: Option<Error>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.data.read(buffer)?;
        let free = count.min(self.free);
        self.free -= free;
        self.held.grow(count - free).map_err(|error| {
            self.refused = Some(error);
            std::io::Error::other("no room")
        })?;
        Ok(count)
    }
}

/// A buffer that compressed bytes are appended to.
struct Joined(BytesMut);

impl Write for Joined {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_flight::{Budget, Limit};

    fn accept(value: &'static str) -> Encoding {
        Encoding::of_response(&HeaderMap::from_iter([(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static(value),
        )]))
    }

    #[test]
    fn preferences() {
        for (value, expected) in [
            ("gzip", Encoding::Gzip),
            ("gzip, deflate", Encoding::Gzip),
            ("deflate, gzip", Encoding::Deflate),
            ("gzip;q=0.5, deflate;q=0.8", Encoding::Deflate),
            ("gzip;q=0", Encoding::Identity),
            ("br", Encoding::Identity),
            ("identity;q=0.9, gzip;q=0.1", Encoding::Identity),
        ] {
            assert_eq!(accept(value), expected, "{value}");
        }
        assert_eq!(Encoding::of_response(&HeaderMap::new()), Encoding::Identity);
    }

    #[test]
    fn round_trip_and_bounds() {
        let parts = [Bytes::from_static(b"{}"), Bytes::from(vec![7; 100_000])];
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let packed = encoding.encode(&parts).unwrap();
            assert!(packed.len() < 2000);
            assert_eq!(
                encoding.decode(packed.clone(), 100_002, &mut Held::uncounted()).unwrap(),
                parts.concat()
            );
            let error = encoding.decode(packed.clone(), 100_001, &mut Held::uncounted()).unwrap_err();
            assert!(error.message().starts_with("Decompressed data size exceeds"), "{error}");
            let error = encoding
                .decode(packed.slice(..packed.len() / 2), 100_002, &mut Held::uncounted())
                .unwrap_err();
            assert!(error.message().starts_with("failed to decompress"), "{error}");
            let garbage = Bytes::from([&packed[..], b"garbage"].concat());
            let error = encoding.decode(garbage, 100_002, &mut Held::uncounted()).unwrap_err();
            assert!(error.message().starts_with("failed to decompress"), "{error}");
        }
    }

    #[test]
    fn what_comes_out_is_held_as_it_comes() {
        let budget = Budget::new(Limit::Bytes(100_000));
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let packed = |length| encoding.encode(&[Bytes::from(vec![7; length])]).unwrap();
            let mut held = budget.hold();
            assert_eq!(encoding.decode(packed(80_000), 1 << 20, &mut held).unwrap().len(), 80_000);
            assert_eq!(budget.usage().in_flight, 80_000);
            drop(held);
            let error = encoding.decode(packed(120_000), 1 << 20, &mut budget.hold()).unwrap_err();
            assert!(error.message().starts_with("Exceeds maximum bytes in flight"), "{error}");
            assert_eq!(budget.usage().in_flight, 0);
        }
    }
}
