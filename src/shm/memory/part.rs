//! A part: one piece of shared memory with a name, a lifetime and a size that is known before it is made.
//!
//! ```text
//!  request ─► reserve(plan) ─► Place          its size is known, nothing is made
//!                              └─► make ─► one sealed mapping, named after the part ─► claim ─► the part
//! ```
//!
//! A type that is a [`Part`] says how it is made; one that is [`Tended`] says what the master does with it while the
//! server lives, above all after the death of a process. The list of all parts is in `state::parts`.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use super::segment::{Plan, Segment};

/// How long a part lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the processes of one script: a reload makes another one.
    Generation,
    /// Over reloads and over the exec of SIGUSR2, until the server is started again.
    Server,
}

impl fmt::Display for Lifetime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Lifetime::Generation => "generation",
            Lifetime::Server => "server",
        })
    }
}

/// The process that holds something in a part. Several generations live side by side, over SIGUSR2 even under two
/// masters, so the index of a process alone does not name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// A number that its generation has alone.
    pub generation: u16,
    /// Its index in that generation.
    pub index: u16,
}

impl Owner {
    /// The process of this index; of the number of its generation the lowest bits count.
    pub fn new(generation: u64, index: u32) -> Owner {
        Owner { generation: generation as u16, index: index as u16 }
    }
}

/// Memory that processes share: requested, sized, made once before the first fork.
pub(crate) trait Part: Sized {
    /// What `/proc/PID/maps` and `sworkerd -x memory` call it.
    const NAME: &'static CStr;
    /// How long it lives.
    const LIFETIME: Lifetime = Lifetime::Generation;
    /// What it is to have room for.
    type Request;
    /// Where everything in it is.
    type Place;
    /// Why it cannot be made.
    type Error: From<io::Error> + fmt::Display;

    /// States the size.
    fn reserve(request: &Self::Request, plan: &mut Plan) -> Result<Self::Place, Self::Error>;

    /// The part in memory that was planned so, all of it zero bytes.
    fn claim(place: Self::Place, segment: &Segment) -> Self;

    /// Makes it.
    fn make(request: &Self::Request) -> Result<Self, Self::Error> {
        Self::make_planned(request)
    }

    /// The bytes of memory it would take. Nothing is made.
    fn size(request: &Self::Request) -> Result<u64, Self::Error> {
        Self::planned_size(request)
    }

    /// Makes it in memory of its own.
    fn make_planned(request: &Self::Request) -> Result<Self, Self::Error> {
        let mut plan = Plan::default();
        let place = Self::reserve(request, &mut plan)?;
        let segment = match Self::LIFETIME {
            Lifetime::Generation => plan.create(Self::NAME)?,
            Lifetime::Server => plan.create_for_successors(Self::NAME)?,
        };
        Ok(Self::claim(place, &segment))
    }

    /// The part in memory that another program made for the same room; `None` when it was planned in another way.
    fn claim_planned_alike(room: &Self::Request, segment: &Segment) -> Result<Option<Self>, Self::Error> {
        let mut plan = Plan::default();
        let place = Self::reserve(room, &mut plan)?;
        let is_alike = plan.size()? == segment.size();
        Ok(is_alike.then(|| Self::claim(place, segment)))
    }

    /// The bytes of that memory.
    fn planned_size(request: &Self::Request) -> Result<u64, Self::Error> {
        let mut plan = Plan::default();
        Self::reserve(request, &mut plan)?;
        Ok(plan.size()? as u64)
    }
}

/// A part of the lifetime [`Lifetime::Server`]: the next program adopts it.
pub(crate) trait Lasting: Part {
    /// The form of what lies in it. A program with another number begins with an empty part.
    const LAYOUT: u64;

    /// What the next program is handed.
    fn file(&self) -> BorrowedFd<'_>;

    /// The part that the program before this one made.
    fn adopt(file: File) -> io::Result<Self>;
}

/// A part that not every script needs.
impl<P: Part> Part for Option<P> {
    const NAME: &'static CStr = P::NAME;
    const LIFETIME: Lifetime = P::LIFETIME;
    type Request = Option<P::Request>;
    type Place = Option<P::Place>;
    type Error = P::Error;

    fn reserve(request: &Self::Request, plan: &mut Plan) -> Result<Self::Place, Self::Error> {
        request.as_ref().map(|request| P::reserve(request, plan)).transpose()
    }

    fn claim(place: Self::Place, segment: &Segment) -> Self {
        place.map(|place| P::claim(place, segment))
    }

    fn make(request: &Self::Request) -> Result<Self, Self::Error> {
        request.as_ref().map(P::make).transpose()
    }

    fn size(request: &Self::Request) -> Result<u64, Self::Error> {
        request.as_ref().map_or(Ok(0), P::size)
    }
}

/// What the master does with every part alike. Most parts need nothing.
pub trait Tended {
    /// Puts right what a dead process left, once `waitpid` has confirmed its death and before its index is used again.
    /// Takes a bounded number of steps, waits for nobody, and may be done twice.
    fn after_death(&self, _dead: Owner) {}

    /// Wakes who sleeps on this part, after deaths: the dead may have been about to.
    fn wake(&self) {}

    /// Whether nothing accepted lies here. A stop waits for it.
    fn is_drained(&self) -> bool {
        true
    }

    /// What lies here is due now, whatever its time. May be said again and again.
    fn expire_all(&self) {}

    /// What is lost if the server ends now: how much, and what it is.
    fn unfinished(&self) -> (u64, &'static str) {
        (0, "")
    }

    /// Gauges by their names, as they are now.
    fn figures(&self, _out: &mut dyn FnMut(&'static str, u64)) {}
}

impl<T: Tended> Tended for Option<T> {
    fn after_death(&self, dead: Owner) {
        self.iter().for_each(|part| part.after_death(dead));
    }

    fn wake(&self) {
        self.iter().for_each(T::wake);
    }

    fn is_drained(&self) -> bool {
        self.iter().all(T::is_drained)
    }

    fn expire_all(&self) {
        self.iter().for_each(T::expire_all);
    }

    fn unfinished(&self) -> (u64, &'static str) {
        self.as_ref().map_or((0, ""), T::unfinished)
    }

    fn figures(&self, out: &mut dyn FnMut(&'static str, u64)) {
        self.iter().for_each(|part| part.figures(out));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::memory::segment::{Place, Shared};
    use crate::shm::memory::sync::Figure;

    #[derive(Debug)]
    struct Refused;

    impl fmt::Display for Refused {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("refused")
        }
    }

    impl From<io::Error> for Refused {
        fn from(_: io::Error) -> Refused {
            Refused
        }
    }

    struct Numbers(Shared<Figure>);

    impl Part for Numbers {
        const NAME: &'static CStr = c"sworker-test-numbers";
        type Request = usize;
        type Place = Place<Figure>;
        type Error = Refused;

        fn reserve(count: &usize, plan: &mut Plan) -> Result<Place<Figure>, Refused> {
            if *count == 0 { Err(Refused) } else { Ok(plan.reserve(*count)) }
        }

        fn claim(place: Place<Figure>, segment: &Segment) -> Numbers {
            Numbers(segment.claim(place))
        }
    }

    impl Tended for Numbers {
        fn is_drained(&self) -> bool {
            false
        }
    }

    #[test]
    fn the_size_is_known_before_anything_is_made() {
        for (count, size) in [(1, 4096), (512, 4096), (513, 8192)] {
            assert_eq!(Numbers::size(&count).unwrap(), size, "{count}");
        }
        let mapped = |name: &str| std::fs::read_to_string("/proc/self/maps").unwrap().contains(name);
        assert!(!mapped("sworker-test-numbers"));
        let made = Numbers::make(&5).unwrap();
        assert!(made.0.len() == 5 && mapped("sworker-test-numbers"));
        assert!(Numbers::size(&0).is_err() && Numbers::make(&0).is_err());
    }

    #[test]
    fn a_part_that_is_not_needed_takes_nothing_and_holds_up_nobody() {
        assert_eq!(Option::<Numbers>::size(&None).unwrap(), 0);
        let none = Option::<Numbers>::make(&None).unwrap();
        assert!(none.is_none() && none.is_drained());
        assert!(!Option::<Numbers>::make(&Some(1)).unwrap().is_drained());
    }
}
