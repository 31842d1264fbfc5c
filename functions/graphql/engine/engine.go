// Package engine answers GraphQL documents from whoever sends them: it bounds them before it looks at them, and answers
// the whole of one with one question per field and depth, however many objects there are.
//
// The language, the type system and the rules of validation are graphql-go's. Its Do is never called, as one short
// document ends the process there (a fragment that spreads itself), and its executor isn't either: it asks field by
// field and one after the other, loses the order of members, and runs on when nobody waits any more.
//
// A document goes through, in this order:
//
//	Prepare   size, tokens, nesting, fragment cycles and expansion (guard.go), parser, validation (document.go);
//	          what came through is remembered by its digest
//	Bind      the operation, its variables (coerce.go) and its plan (plan.go): the fields of each concrete type in the
//	          order of the answer, fragments and directives done with
//	Cost      points from the plan and its list sizes, before anything is done (cost.go)
//	Run       level by level: all objects of a depth ask together, and what waits for others waits at once (run.go);
//	          then the answer is written from the plan (write.go)
//
// Read schema.go for what a field is, then document.go, plan.go and run.go.
package engine

import "time"

// Limits bound a document. What is above is refused before the work that it would cost.
type Limits struct {
	Bytes       int // of the document
	Text        int // bytes of one text in it
	Tokens      int
	Nesting     int // of braces, brackets and parentheses
	Depth       int // of fields, fragments expanded
	Fields      int // in all operations, fragments expanded
	Siblings    int // fields of one response name in one place: each pair of them is compared
	Aliases     int
	Fragments   int
	Spreads     int
	Operations  int
	Variables   int
	RootFields  int  // of a mutation
	Directives  int  // at one place
	Arguments   int  // at one place
	Errors      int  // told at once
	Suggestions bool // name what the schema has instead of what was asked for
	Cost        int  // points of one operation
	Objects     int  // in an answer
	Answer      int  // bytes of one, by and large
}

// DefaultLimits let through what clients send: the introspection that tools make, and every page of a shop.
func DefaultLimits() Limits {
	return Limits{
		Bytes: 32 << 10, Text: 2000, Tokens: 1500, Nesting: 30, Depth: 15, Fields: 1000, Siblings: 20, Aliases: 50, Fragments: 50, Spreads: 100,
		Operations: 10, Variables: 50, RootFields: 10, Directives: 4, Arguments: 20, Errors: 20, Cost: 2500, Objects: 100_000, Answer: 4 << 20,
	}
}

// cacheFor is how long a document that nobody sends stays prepared.
const cacheFor = 24 * time.Hour
