//! `cos init`.
