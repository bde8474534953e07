//! What the allocator does with memory that was given back to it.

use std::hint::black_box;

/// Half of what is kept; never touched, so it costs nothing by itself.
const LESSON: usize = 4 * 1024 * 1024;

/// Teaches glibc to keep up to 8 MiB of freed memory.
///
/// It returns freed memory to the system when more than 128 KiB lie at the end of its heap. A bulk transfer
/// takes and frees more than that all the time, and spent a fifth of its processor time on page faults.
/// Freeing one large block raises the limit to twice its size (mallopt(3) under `M_MMAP_THRESHOLD`). Other
/// allocators learn nothing from it, and lose nothing.
pub(crate) fn keep_freed_memory() {
    drop(black_box(Vec::<u8>::with_capacity(LESSON)));
}
