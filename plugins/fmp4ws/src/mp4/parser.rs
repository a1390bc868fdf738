//! Cuts the byte stream into init segments and fragments.

use super::boxes::{self, Header};
use super::{Error, FourCc, Fragment, Init, repair};
use std::sync::Arc;

/// What the parser found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A new init segment: at the start, or because the stream has changed.
    Init(Arc<Init>),
    /// A fragment of the init segment before it.
    Fragment(Arc<Fragment>),
}

/// The most that a box may hold, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// ftyp and moov, each.
    pub init: u64,
    /// moof, mdat, and any other box, each.
    pub fragment: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // A moov without samples has a few hundred bytes (and perhaps a cover picture); an hour of 4K in one fragment is no
        // live stream.
        Self { init: 4 << 20, fragment: 64 << 20 }
    }
}

/// A stream has a keyframe within so many fragments, or none to wait for.
const MOST_UNFINISHED: u32 = 900;

/// An incremental parser. Feed it bytes in pieces of any size: the outputs are the same.
#[derive(Debug, Default)]
pub struct Parser {
    limits: Limits,
    /// Where in the stream the box at hand starts.
    position: u64,
    place: Place,
    /// The init segment or the fragment that is being collected.
    collected: Vec<u8>,
    /// Length and position of the moof in `collected`, once it is complete and until its mdat is.
    moof: Option<(usize, u64)>,
    init: Option<Arc<Init>>,
    /// Fragments that came while `init` waits for the first keyframe, which it has to be repaired with.
    unfinished: Option<u32>,
    failed: Option<Error>,
}

/// Where in the stream the next byte belongs.
#[derive(Debug)]
enum Place {
    /// A box header, of which this much is here.
    Header(Vec<u8>),
    /// The body of a box.
    Body(Body),
}

#[derive(Debug, Clone, Copy)]
struct Body {
    kind: [u8; 4],
    /// Bytes of the box with its header.
    size: u64,
    /// Bytes of the body that are still to come.
    left: u64,
    /// Nothing of the body has come yet.
    untouched: bool,
    /// It is part of an init segment or of a fragment.
    keep: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self::Header(Vec::new())
    }
}

impl Parser {
    /// With other limits than the usual ones.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the next bytes and adds what is complete to `outputs`. After an error nothing more is accepted: where the
    /// next box starts is not known any more.
    pub fn push(&mut self, mut bytes: &[u8], outputs: &mut Vec<Output>) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        while !bytes.is_empty() {
            let step = match self.place {
                Place::Header(_) => self.header(bytes, outputs),
                Place::Body(body) => self.body(body, bytes, outputs),
            };
            match step {
                Ok(rest) => bytes = rest,
                Err(error) => {
                    self.collected = Vec::new();
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether the next byte is the first one of a fragment's samples: who pushes a buffer with a time stamp now knows
    /// that the stamp belongs to the first sample.
    pub fn at_first_sample(&self) -> bool {
        matches!(self.place, Place::Body(Body { kind, untouched: true, .. }) if &kind == b"mdat")
    }

    /// Forgets everything: another stream starts.
    pub fn reset(&mut self) {
        *self = Self::with_limits(self.limits);
    }

    /// Forgets what is incomplete. The init segment stays: a muxer that was flushed goes on with fragments, and whoever begins
    /// anew sends another.
    pub fn flush(&mut self) {
        *self =
            Self { limits: self.limits, init: self.init.take(), unfinished: self.unfinished.take(), ..Self::default() };
    }

    fn header<'a>(&mut self, mut bytes: &'a [u8], outputs: &mut Vec<Output>) -> Result<&'a [u8], Error> {
        let Place::Header(head) = &mut self.place else { return Ok(bytes) };
        while !bytes.is_empty() {
            // 8 bytes, and 8 more when the first four say so.
            let wanted = if head.len() >= 8 { 16 } else { 8 };
            let (part, rest) = bytes.split_at(bytes.len().min(wanted - head.len()));
            head.extend_from_slice(part);
            bytes = rest;
            if let Some(header) = Header::read(head, self.position)? {
                let head = std::mem::take(head);
                self.begin(header, &head, outputs)?;
                break;
            }
        }
        Ok(bytes)
    }

    /// A header is complete: decides what becomes of the box.
    fn begin(&mut self, header: Header, head: &[u8], outputs: &mut Vec<Output>) -> Result<(), Error> {
        let kind = header.kind;
        let keep = match &kind {
            b"ftyp" | b"moof" => {
                self.collected.clear();
                self.moof = None;
                true
            }
            b"moov" => {
                // What is collected is the ftyp, unless a fragment was left without its mdat.
                if self.moof.take().is_some() {
                    self.collected.clear();
                }
                true
            }
            b"mdat" if self.moof.is_none() => return Err(Error::NotFragmented),
            _ => self.moof.is_some(),
        };
        if &kind == b"moof" && self.init.is_none() {
            return Err(Error::NoInit);
        }
        let Some(size) = header.size else { return Err(Error::Endless(FourCc(kind))) };
        let limit = if matches!(&kind, b"ftyp" | b"moov") { self.limits.init } else { self.limits.fragment };
        if size > limit {
            return Err(Error::TooLarge { position: self.position, kind: FourCc(kind), size, limit });
        }
        // With what stands between them, moof and mdat may have as much as both may have.
        if keep && self.collected.len() as u64 + size > 2 * limit {
            return Err(Error::TooMuch { position: self.position, kind: FourCc(kind), limit: 2 * limit });
        }
        if keep {
            self.collected.extend_from_slice(head);
        }
        let body = Body { kind, size, left: size - header.len as u64, untouched: true, keep };
        self.place = Place::Body(body);
        if body.left == 0 { self.end(body, outputs) } else { Ok(()) }
    }

    fn body<'a>(&mut self, mut body: Body, bytes: &'a [u8], outputs: &mut Vec<Output>) -> Result<&'a [u8], Error> {
        let here = usize::try_from(body.left).unwrap_or(usize::MAX).min(bytes.len());
        let (part, rest) = bytes.split_at(here);
        if body.keep {
            self.collected.extend_from_slice(part);
        }
        body.left -= here as u64;
        body.untouched = false;
        self.place = Place::Body(body);
        if body.left == 0 {
            self.end(body, outputs)?;
        }
        Ok(rest)
    }

    /// A box is complete.
    fn end(&mut self, body: Body, outputs: &mut Vec<Output>) -> Result<(), Error> {
        match &body.kind {
            b"moov" => {
                let mut data = std::mem::take(&mut self.collected);
                repair::opus(&mut data);
                let init = Arc::new(Init::read(data.into())?);
                self.unfinished = repair::lacks_av1_configuration(&init.data).then_some(0);
                self.init = Some(init.clone());
                if self.unfinished.is_none() {
                    outputs.push(Output::Init(init));
                }
            }
            b"moof" => self.moof = Some((self.collected.len(), self.position)),
            b"mdat" => {
                let (moof_len, position) = self.moof.take().expect("an mdat without a moof was refused at its header");
                let data = std::mem::take(&mut self.collected);
                if self.finish_init(&data)? {
                    outputs.extend(self.init.clone().map(Output::Init));
                }
                let init = self.init.as_ref().expect("a moof without an init segment was refused at its header");
                let fragment = Fragment::read(data, moof_len, position, init)?;
                if self.unfinished.is_none() {
                    outputs.push(Output::Fragment(Arc::new(fragment)));
                }
            }
            _ => {}
        }
        self.position = self.position.saturating_add(body.size);
        self.place = Place::default();
        Ok(())
    }

    /// Repairs the init segment with what the fragment `data` tells, if it waits for that; whether it is complete only now.
    fn finish_init(&mut self, data: &[u8]) -> Result<bool, Error> {
        let (Some(waited), Some(init)) = (self.unfinished.as_mut(), &self.init) else { return Ok(false) };
        *waited += 1;
        if *waited > MOST_UNFINISHED {
            return Err(Error::Av1Configuration);
        }
        let sample = boxes::child(data, b"mdat").map_or(&[][..], |mdat| mdat.body);
        let Some(repaired) = repair::with_av1_configuration(&init.data, sample) else { return Ok(false) };
        self.init = Some(Arc::new(Init::read(repaired.into())?));
        self.unfinished = None;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
