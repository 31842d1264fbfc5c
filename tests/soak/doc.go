// Package soak kills what carries events, again and again, and then proves from the receiver's log and the
// database that no event was lost, none came out of order within its aggregate, and repeats have the same id.
//
// Drains and the broker are processes of their own (this test binary, started again), so that they die as
// processes do. `make test` runs it for some seconds, `make soak` for two minutes.
package soak
