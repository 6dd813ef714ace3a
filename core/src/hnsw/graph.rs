//! What a search needs of a graph, whether it lives in memory or on pages.

/// A node's number: 30 bits, so that a link has two to spare.
pub type NodeId = u32;

/// A link as stored: a node's number, a bit that says that pruning must keep it, and a bit that says that it only
/// fills a place that no better link has taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link(pub u32);

impl Link {
    /// An unused place in a list of links.
    pub const EMPTY: Link = Link(u32::MAX);
    const PROTECTED: u32 = 1 << 31;
    const SPARE: u32 = 1 << 30;
    /// The numbers of nodes are below this.
    pub const MAX_NODES: u32 = Self::SPARE - 1;

    /// A link to `id`.
    pub fn new(id: NodeId, protected: bool, spare: bool) -> Link {
        debug_assert!(id < Self::MAX_NODES);
        let protected = if protected { Self::PROTECTED } else { 0 };
        Link(id | protected | if spare { Self::SPARE } else { 0 })
    }

    /// The node it leads to. Not meaningful for [`Link::EMPTY`].
    pub fn id(self) -> NodeId {
        self.0 & !(Self::PROTECTED | Self::SPARE)
    }

    /// Whether pruning must keep it.
    pub fn is_protected(self) -> bool {
        self.0 & Self::PROTECTED != 0 && !self.is_empty()
    }

    /// Whether it only fills a place.
    pub fn is_spare(self) -> bool {
        self.0 & Self::SPARE != 0 && !self.is_empty()
    }

    /// Whether nothing is here.
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
}

/// A node met by a search, with its score (smaller is nearer).
pub trait Item: Copy {
    /// The node.
    fn id(&self) -> NodeId;
    /// Its ordering value against the query.
    fn score(&self) -> f32;
    /// Whether it may be a result. A node whose rows are all dead still leads on to others.
    fn is_result(&self) -> bool {
        true
    }
}

/// The smallest [`Item`]: a node and its score.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scored {
    /// Ordering value against the query.
    pub score: f32,
    /// The node.
    pub id: NodeId,
}

impl Item for Scored {
    fn id(&self) -> NodeId {
        self.id
    }
    fn score(&self) -> f32 {
        self.score
    }
}

/// A graph together with one query.
pub trait Graph {
    /// What scoring a node gives.
    type Item: Item;
    /// What can go wrong when reading it.
    type Error;

    /// Replaces `out` by the nodes that `from` links to at `level`.
    fn links(
        &mut self,
        from: &Self::Item,
        level: u8,
        out: &mut Vec<NodeId>,
    ) -> Result<(), Self::Error>;

    /// Appends an item to `out` for each of `ids` that still is a node. May reorder `ids`.
    fn score(&mut self, ids: &mut [NodeId], out: &mut Vec<Self::Item>) -> Result<(), Self::Error>;
}
