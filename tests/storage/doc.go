// Package storage tests what the schema's storage settings are for, by the server's own counters: updates that stay on
// their page, and indexes that don't grow with sales.
package storage
