//! The allocator of programs with musl, whose own maps and unmaps memory for every few blocks.
#![expect(
    unsafe_code,
    reason = "an allocator hands out memory, which its users alone know the life of"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Mutex::new(Heap(Dlmalloc::new())));

/// One heap for all threads. The crate's own global allocator locks by pthread's mutex, which takes as long as the rest of it.
struct Allocator(Mutex<Heap>);

struct Heap(Dlmalloc);

// SAFETY: the heap points to memory that it has mapped itself, and to nothing of a thread's.
unsafe impl Send for Heap {}

impl Allocator {
    /// Takes no memory itself: the lock of std is a number.
    fn heap(&self) -> MutexGuard<'_, Heap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: the heap keeps the contract, as the crate's documentation of each call says, and is used by one thread at a time.
// Nothing here panics.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout has a size and a valid alignment.
        unsafe { self.heap().0.malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout has a size and a valid alignment.
        unsafe { self.heap().0.calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller has the block from here, with this layout.
        unsafe { self.heap().0.free(block, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (old, align) = (layout.size(), layout.align());
        // SAFETY: the caller has the block from here, with this layout, and the new size is valid for its alignment.
        unsafe { self.heap().0.realloc(block, old, align, size) }
    }
}

/// Gives free memory at the end of the heap back to the system.
pub(super) fn trim() {
    // SAFETY: what it unmaps is free, which nobody uses.
    let _: bool = unsafe { ALLOCATOR.heap().0.trim(0) };
}
