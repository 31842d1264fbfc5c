// Package cfile is the standard library's: this file is added to it for builds whose coverage is measured (run.go).
package cfile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// What a process executed is written when it ends by itself. Most handlers of a test are killed: so it is written twice
// a second too, whole each time, and the last one goes when the new one is there. In a test's own process every such
// write fails, and package testing writes once. There is no goroutine between two writes: some tests count them.
func init() {
	if os.Getenv("GOCOVERDIR") == "" { // started with a bare environment
		os.Setenv("GOCOVERDIR", "PLACE")
	}
	dir := os.Getenv("GOCOVERDIR")
	pattern := filepath.Join(dir, fmt.Sprintf("covcounters.*.%d.*", os.Getpid()))
	others, _ := filepath.Glob(pattern) // of a process that is gone, and whose number is ours now
	const pause = 500 * time.Millisecond
	var write func()
	write = func() {
		written, _ := filepath.Glob(pattern)
		if WriteCountersDir(dir) == nil {
			for _, file := range written {
				if !slices.Contains(others, file) {
					os.Remove(file)
				}
			}
		}
		time.AfterFunc(pause, write)
	}
	time.AfterFunc(pause, write)
}
