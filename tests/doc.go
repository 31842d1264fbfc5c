// Package tests holds what no package can test alone. Here are the rules of the repository's layout: who may
// import whom, what every package and folder must have, and that each function.json has its line in
// handler/routes.go. The folders below hold the kits, and the contract, end-to-end, chaos and load tests.
//
// Read layout_test.go for the rules, layout_rules_test.go for how each is seen to fail.
package tests
