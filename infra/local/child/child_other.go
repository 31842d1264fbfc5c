//go:build !linux

package child

import "syscall"

// dieWithParent has no equivalent here: a stack that is SIGKILLed leaves its children behind.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
