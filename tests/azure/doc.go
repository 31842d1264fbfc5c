// Package azure holds what infra/main.bicep deploys against the code that it deploys, with no subscription: the compiler
// expands each environment into the resources that it would have (infra/params/*.snapshot.json), and the tests read those.
//
// compile_test.go keeps the snapshots current and the compiler silent; the other files say what must be true of them.
package azure
