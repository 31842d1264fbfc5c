// Package audit holds the service's operations against the audit log: each either leaves a row, in the transaction of
// its act, or is named here as no act that anybody answers for.
package audit
