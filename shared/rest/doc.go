// Package rest is the HTTP edge that every slice stands behind: typed operations with their OpenAPI 3.1
// document, one way to say no (RFC 9457 problems), and what every answer carries.
//
// A slice registers operations (Register) whose handlers take a typed request and return an Answer or an error.
// Before the handler runs, in this order: a refusal at the door when there is no room at all, correlation id and
// security headers, the caller's token and the operation's policy, what an operator has switched off (ladder.go), the
// Idempotency-Key of a keyed write, the body's size, type and form, and the schema.
// After it, an error becomes a problem in one place (problem.go), and a conditional GET a 304.
//
// Read operation.go, then problem.go.
package rest
