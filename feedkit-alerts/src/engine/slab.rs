//! The memory of a table.

/// A key with its state. With a state of up to 48 bytes it is one line of the processor's cache.
#[repr(align(64))]
pub(super) struct Slot<S> {
    pub(super) key: u128,
    pub(super) state: S,
}

/// Slots in blocks that never move. Growing copies nothing, and allocates one block at a time.
pub(super) struct Slab<S> {
    blocks: Vec<Vec<Slot<S>>>,
    len: usize,
}

/// Number of slots in a block.
const BLOCK: usize = 1024;

impl<S> Slab<S> {
    pub(super) fn new() -> Self {
        Slab { blocks: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All blocks, in order.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &[Slot<S>]> {
        self.blocks.iter().map(Vec::as_slice)
    }

    pub(super) fn push(&mut self, slot: Slot<S>) {
        if self.len.is_multiple_of(BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        self.blocks[self.len / BLOCK].push(slot);
        self.len += 1;
    }

    #[inline]
    pub(super) fn at(&self, slot: usize) -> &Slot<S> {
        &self.blocks[slot / BLOCK][slot % BLOCK]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, slot: usize) -> &mut Slot<S> {
        &mut self.blocks[slot / BLOCK][slot % BLOCK]
    }
}
