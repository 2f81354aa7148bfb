//! Runs the demo for real and compares what it shows with `transcript.txt`.

#[cfg(test)]
mod demo;
#[cfg(test)]
mod normal;
