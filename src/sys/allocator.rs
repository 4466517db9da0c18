//! The allocator of programs with musl, whose own maps and unmaps memory for every few blocks.
//!
//! One heap for all threads, behind a lock. A command makes and gives back some thousands of small blocks in its first
//! thread, a third of all its instructions where each of them goes through lock and heap: those that the first thread gives
//! back wait in lists of its own for the next who needs as much.
#![expect(
    unsafe_code,
    reason = "an allocator hands out memory, which its users alone know the life of"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;

/// Small blocks are multiples of this many bytes, and aligned to it.
const STEP: usize = 16;

/// How many sizes of small blocks there are.
const SIZES: usize = 32;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Mutex::new(Heap(Dlmalloc::new())));

thread_local! {
    /// Of the first thread alone: what others give back goes into the heap, where it is not lost when they end.
    static KEPT: Kept = const {
        Kept {
            is_on: Cell::new(false),
            lists: [const { Cell::new(null_mut()) }; SIZES],
        }
    };
}

/// The crate's own global allocator locks by pthread's mutex, which takes as long as the rest of it.
struct Allocator(Mutex<Heap>);

struct Heap(Dlmalloc);

// SAFETY: the heap points to memory that it has mapped itself, and to nothing of a thread's.
unsafe impl Send for Heap {}

/// Small blocks that nobody uses: one list for each size, of blocks that each begin with the address of the next.
struct Kept {
    is_on: Cell<bool>,
    lists: [Cell<*mut Block>; SIZES],
}

struct Block {
    next: *mut Block,
}

/// The size of a small block: its list, and how it is asked of the heap.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Size(usize);

impl Size {
    /// Returns the size for `bytes`; nothing for blocks that are large, or aligned to more.
    fn of(bytes: usize, align: usize) -> Option<Size> {
        let list = bytes.wrapping_sub(1) / STEP;
        (list < SIZES && align <= STEP).then_some(Size(list))
    }

    fn bytes(self) -> usize {
        (self.0 + 1) * STEP
    }
}

impl Kept {
    fn take(&self, size: Size) -> *mut u8 {
        let list = &self.lists[size.0];
        let first = list.get();
        if !first.is_null() {
            // SAFETY: what is in a list is a block of this size that nobody else has, and begins with the next one's address.
            list.set(unsafe { (*first).next });
        }
        first.cast()
    }

    /// Puts a block into its list; returns whether blocks are kept here.
    ///
    /// # Safety
    /// The block has `size` and an alignment of [`STEP`], and nobody uses it any more.
    unsafe fn put(&self, block: *mut u8, size: Size) -> bool {
        if !self.is_on.get() {
            return false;
        }
        let list = &self.lists[size.0];
        let first: *mut Block = block.cast();
        // SAFETY: the block is as large and as aligned as an address at least, and ours from now on.
        unsafe { first.write(Block { next: list.get() }) };
        list.set(first);
        true
    }
}

impl Allocator {
    /// Takes no memory itself: the lock of std is a number.
    fn heap(&self) -> MutexGuard<'_, Heap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: the heap keeps the contract, as the crate's documentation of each call says, and is used by one thread at a time;
// a small block has the bytes of its `Size` whoever asks for it, so that one from a list is as good as a new one. Nothing
// here panics: the lists are of this thread, have no destructor, and are there as long as it is.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(size) = Size::of(layout.size(), layout.align()) else {
            // SAFETY: the caller's layout has a size and a valid alignment.
            return unsafe { self.heap().0.malloc(layout.size(), layout.align()) };
        };
        let kept = KEPT.with(|kept| kept.take(size));
        if kept.is_null() {
            // SAFETY: a size of at least one step, and its alignment.
            unsafe { self.heap().0.malloc(size.bytes(), STEP) }
        } else {
            kept
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Size::of(layout.size(), layout.align()).is_none() {
            // SAFETY: the caller's layout has a size and a valid alignment.
            return unsafe { self.heap().0.calloc(layout.size(), layout.align()) };
        }
        // SAFETY: the caller's layout.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: a new block has at least the bytes of its layout.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Size::of(layout.size(), layout.align()) {
            // SAFETY: the caller has the block from here, with this layout, so that it has that size.
            Some(size) if KEPT.with(|kept| unsafe { kept.put(block, size) }) => {}
            // SAFETY: the same, and it was asked of the heap with this size and alignment.
            Some(size) => unsafe { self.heap().0.free(block, size.bytes(), STEP) },
            // SAFETY: the caller has the block from here, with this layout.
            None => unsafe { self.heap().0.free(block, layout.size(), layout.align()) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let (old, align) = (layout.size(), layout.align());
        match (Size::of(old, align), Size::of(bytes, align)) {
            (Some(before), Some(after)) if before == after => block,
            // SAFETY: the caller has the block from here, with this layout, and the new size is valid for its alignment.
            (None, None) => unsafe { self.heap().0.realloc(block, old, align, bytes) },
            _ => {
                // SAFETY: the caller's alignment, with a size that is valid for it.
                let new = unsafe { Layout::from_size_align_unchecked(bytes, align) };
                // SAFETY: its size is not zero.
                let moved = unsafe { self.alloc(new) };
                if !moved.is_null() {
                    // SAFETY: both blocks have at least so many bytes, and are not the same.
                    unsafe { moved.copy_from_nonoverlapping(block, old.min(bytes)) };
                    // SAFETY: the caller has the block from here, with this layout, and uses the new one from now on.
                    unsafe { self.dealloc(block, layout) };
                }
                moved
            }
        }
    }
}

/// Lets small blocks that this thread gives back wait for it, until [`trim`]. For the first thread of a process, which does
/// not end before that.
pub(super) fn keep() {
    KEPT.with(|kept| kept.is_on.set(true));
}

/// Gives what this thread has kept back to the heap, and free memory at the end of the heap to the system.
pub(super) fn trim() {
    for list in 0..SIZES {
        let size = Size(list);
        loop {
            let block = KEPT.with(|kept| kept.take(size));
            if block.is_null() {
                break;
            }
            // SAFETY: nobody uses what was in a list, and the heap was asked for it with this size and alignment.
            unsafe { ALLOCATOR.heap().0.free(block, size.bytes(), STEP) };
        }
    }
    // SAFETY: what it unmaps is free, which nobody uses.
    let _: bool = unsafe { ALLOCATOR.heap().0.trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own, whose lists are nobody else's.
    fn alone(check: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            scope.spawn(check);
        });
    }

    #[test]
    fn what_was_given_back_is_had_again() {
        alone(|| {
            keep();
            let first = Box::new([7_u8; 40]);
            let address = std::ptr::from_ref(&*first).addr();
            drop(first);
            // 33 to 48 bytes are one size.
            let again: Vec<u8> = Vec::with_capacity(48);
            assert_eq!(again.as_ptr().addr(), address);
            drop(again);
            assert_eq!(*Box::new([0_u8; 40]), [0; 40]);
            trim();
            assert!(KEPT.with(|kept| kept.lists.iter().all(|list| list.get().is_null())));
        });
    }

    #[test]
    fn what_grows_and_shrinks_keeps_its_content() {
        alone(|| {
            keep();
            let mut bytes = Vec::new();
            for length in 0..5000_usize {
                bytes.push(length.to_le_bytes()[0]);
            }
            for length in (0..5000_usize).rev() {
                assert_eq!(bytes.pop(), Some(length.to_le_bytes()[0]));
                bytes.shrink_to_fit();
            }
            let zeros: Vec<u64> = vec![0; 50];
            assert!(zeros.iter().all(|&zero| zero == 0));
            trim();
        });
    }

    #[test]
    fn others_may_give_back_what_the_first_thread_has_made() {
        alone(|| {
            keep();
            let blocks: Vec<Box<[usize; 4]>> = (0..1000).map(|n| Box::new([n; 4])).collect();
            std::thread::scope(|scope| {
                scope.spawn(move || drop(blocks));
            });
            let new: Vec<Box<[usize; 4]>> = (0..1000).map(|n| Box::new([n; 4])).collect();
            assert!(new.iter().enumerate().all(|(n, block)| **block == [n; 4]));
            drop(new);
            trim();
        });
    }
}
