// Package history writes down what clients of the service did and heard, and proves from it and from what the stores
// hold in the end that the promises held, or says which one did not and shows the evidence.
//
// A Log is one file with one line of JSON per attempt and per fault, so that a run can be checked again and looked at long
// after it. Read record.go for its lines, truth.go for what is asked of the database, check.go for the promises one by
// one, linear.go for the stock of each product, and report.go for the page.
package history
