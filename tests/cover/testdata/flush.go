package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/coverage"
	"slices"
	"time"
)

// What a process executed is written when it ends by itself. Most handlers of a test are killed: so it is written twice
// a second too, whole each time, and the last one goes when the new one is there.
func init() {
	dir := os.Getenv("GOCOVERDIR")
	if coverage.WriteMetaDir(dir) != nil {
		return // the handler's own tests, which package testing counts
	}
	pattern := filepath.Join(dir, fmt.Sprintf("covcounters.*.%d.*", os.Getpid()))
	others, _ := filepath.Glob(pattern) // of a process that is gone, and whose number is ours now
	go func() {
		for range time.Tick(500 * time.Millisecond) {
			written, _ := filepath.Glob(pattern)
			if err := coverage.WriteCountersDir(dir); err != nil {
				fmt.Fprintln(os.Stderr, "cover:", err)
				return
			}
			for _, file := range written {
				if !slices.Contains(others, file) {
					_ = os.Remove(file)
				}
			}
		}
	}()
}
