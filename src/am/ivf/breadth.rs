//! How far a scan looks: lists before the first row, and how many more as rows are given.

use leanstack_core::ivf::calibrate::Extent;
use pgrx::pg_sys;

use super::index::Opened;
use super::options;
use crate::guc::{self, FlatIterativeScan, IterativeScan};

/// How far a scan looks.
#[derive(Clone, Copy)]
pub struct Breadth {
    /// Lists to read before the first row is given, at most.
    pub probes: usize,
    /// So many of these in turn that change nothing are enough.
    pub patience: Option<usize>,
    /// What more lists are counted from as more rows are given.
    base: usize,
    /// Lists to read at most.
    pub max_probes: usize,
    /// Whether more lists are read as more rows are given.
    pub grows: bool,
    /// Whether what comes too late is left out.
    pub in_order: bool,
    /// Whether first bits decide nothing, but every row is looked at by its whole code.
    pub whole: bool,
}

/// So many rows are given before more lists are read: the executor takes some to put ten in order.
pub const GROWS_AFTER: usize = 20;
/// More lists are read a tenth at a time.
const GROWTH: f64 = 1.1;

impl Breadth {
    /// What the settings and the index's calibration say.
    ///
    /// # Safety
    /// `relation` is open.
    pub unsafe fn new(relation: pg_sys::Relation, opened: &Opened) -> Breadth {
        // SAFETY: the caller holds the index open.
        if unsafe { options::is_flat(relation) } {
            let probes = guc::flat_probes();
            let further = guc::flat_iterative_scan() == FlatIterativeScan::Relaxed;
            let max_probes = if further { guc::flat_max_probes().max(probes) } else { probes };
            let (grows, in_order, patience) = (false, !further, None);
            let base = probes;
            return Breadth { probes, patience, base, max_probes, grows, in_order, whole: false };
        }
        let (fixed, target) = (guc::ivf_probes(), guc::ivf_recall_target());
        let Extent { most: probes, patience } =
            if fixed > 0 { Extent::fixed(fixed) } else { opened.extent_for(target) };
        // Who asks for everything gets it.
        let whole = fixed == 0 && target >= 1.0;
        let iterative = guc::ivf_iterative_scan();
        let grows = iterative != IterativeScan::Off;
        // Lists may be split at any time, and then there are more.
        let max_probes = if grows { usize::MAX } else { probes };
        let in_order = iterative != IterativeScan::Relaxed;
        Breadth { probes, patience, base: probes, max_probes, grows, in_order, whole }
    }

    /// So many lists were enough. That is true of the nearest rows; if more are asked for, it goes on as from an average
    /// query, or from where it is.
    pub fn settle(&mut self, probes: usize) {
        self.base = self.expected().max(probes);
        self.probes = probes;
        if !self.grows {
            self.max_probes = probes;
        }
    }

    /// How many lists are to be read before another row is given, of which there were `given`.
    ///
    /// The nearest rows lie in a ball around the query, and the more of them are wanted, the more lists the ball touches.
    /// How many more depends on the data; for text embeddings it was their square root. So a long result, or a short
    /// one behind a filter, is found as well as the nearest ten are.
    pub fn probes_for(&self, given: usize) -> usize {
        if !self.grows || given < GROWS_AFTER {
            return self.probes;
        }
        let times = (given as f64 / GROWS_AFTER as f64).sqrt();
        let times = GROWTH.powf((times.ln() / GROWTH.ln()).floor());
        ((self.base as f64 * times).ceil() as usize)
            .clamp(self.probes, self.max_probes.max(self.probes))
    }

    /// How many lists it reads before it gives its first row, on average.
    pub fn expected(&self) -> usize {
        Extent { most: self.probes, patience: self.patience }.expected()
    }
}
