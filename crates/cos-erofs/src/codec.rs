//! The compressors, set up once and used for many pieces.

use crate::{BLOCK_SIZE, Compression, ErofsError};
use std::io;
use zstd_safe::{CCtx, CParameter, Strategy};

/// Compresses pieces, each on its own: what came before never shows in the result.
pub(crate) enum Encoder {
    None,
    Lz4,
    Zstd(CCtx<'static>),
}

impl Encoder {
    pub(crate) fn new(compression: Compression) -> Result<Self, ErofsError> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd { level } => Self::Zstd(zstd_context(level)?),
        })
    }

    /// Compresses `input` into `output`. `false` when that saves no block, so is not worth reading.
    pub(crate) fn compress(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<bool, ErofsError> {
        output.clear();
        match self {
            Self::None => return Ok(false),
            Self::Lz4 => {
                output.resize(lz4_flex::block::get_maximum_output_size(input.len()), 0);
                let length = lz4_flex::block::compress_into(input, output)
                    .map_err(|cause| codec_error("compress", "LZ4", io::Error::other(cause)))?;
                output.truncate(length);
            }
            Self::Zstd(context) => {
                output.reserve(zstd_safe::compress_bound(input.len()));
                context
                    .compress2(output, input)
                    .map_err(|code| zstd_error("compress", code))?;
            }
        }
        Ok(output.len().div_ceil(BLOCK_SIZE) < input.len().div_ceil(BLOCK_SIZE))
    }
}

fn zstd_context(level: i32) -> Result<CCtx<'static>, ErofsError> {
    let mut context = CCtx::create();
    let mut set = |parameter| {
        context
            .set_parameter(parameter)
            .map(drop)
            .map_err(|code| zstd_error("compress", code))
    };
    set(CParameter::CompressionLevel(level))?;
    if level == 1 {
        // On system trees in pieces of 256 KiB: the size of zstd's own level 2 at the price of
        // hardly more than its level 1.
        set(CParameter::Strategy(Strategy::ZSTD_dfast))?;
        set(CParameter::HashLog(15))?;
        set(CParameter::ChainLog(13))?;
        set(CParameter::MinMatch(5))?;
    }
    Ok(context)
}

/// Undoes [`Encoder::compress`] into all of `output`.
pub(crate) fn decompress(
    compression: Compression,
    input: &[u8],
    output: &mut [u8],
) -> Result<(), ErofsError> {
    let (algorithm, length) = match compression {
        Compression::None => ("none", 0),
        Compression::Lz4 => {
            let length = lz4_flex::block::decompress_into(input, output)
                .map_err(|cause| codec_error("decompress", "LZ4", io::Error::other(cause)))?;
            ("LZ4", length)
        }
        Compression::Zstd { .. } => {
            let length = zstd_safe::decompress(&mut *output, input)
                .map_err(|code| zstd_error("decompress", code))?;
            ("zstd", length)
        }
    };
    if length == output.len() {
        Ok(())
    } else {
        let cause = io::Error::from(io::ErrorKind::UnexpectedEof);
        Err(codec_error("decompress", algorithm, cause))
    }
}

fn zstd_error(operation: &'static str, code: usize) -> ErofsError {
    codec_error(
        operation,
        "zstd",
        io::Error::other(zstd_safe::get_error_name(code)),
    )
}

fn codec_error(operation: &'static str, algorithm: &'static str, source: io::Error) -> ErofsError {
    ErofsError::Codec {
        operation,
        algorithm,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(length)
        .collect()
    }

    #[test]
    fn pieces_come_back_and_noise_is_left_alone() {
        let text = b"the quick brown fox ".repeat(10_000);
        for compression in [Compression::Lz4, Compression::Zstd { level: 1 }] {
            let mut encoder = Encoder::new(compression).unwrap();
            let mut output = Vec::new();
            assert!(encoder.compress(&text, &mut output).unwrap());
            let first = output.clone();
            let mut back = vec![0; text.len()];
            decompress(compression, &output, &mut back).unwrap();
            assert_eq!(back, text);
            assert!(!encoder.compress(&noise(100_000), &mut output).unwrap());
            assert!(!encoder.compress(b"short", &mut output).unwrap());
            // A context that has seen other pieces gives the same bytes.
            encoder.compress(&text, &mut output).unwrap();
            assert_eq!(output, first);
            assert!(decompress(compression, &first[..first.len() - 1], &mut back).is_err());
        }
    }
}
