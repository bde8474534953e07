//! Both halves together: one test binary, one module a subject.
