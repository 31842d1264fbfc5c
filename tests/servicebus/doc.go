// Package servicebus holds what the service relies on in Service Bus, as a suite of tests over the real client. It
// runs against the broker that SERVICEBUS_CONNECTION names, whether Azure's, the official emulator or another, and
// else against the stand-in in this process; so the stand-in earns its place by passing what the real one passes.
//
// A broker named from outside must have the entities of infra/local/servicebus/config.json, and they must be nobody
// else's while the tests run: each test begins by emptying them. There, time passes as it does, and the suite takes about six minutes.
//
// Read broker_test.go for how a test gets its broker, then messages_test.go, locks_test.go, time_test.go, and
// faults_test.go for what only the stand-in can be made to do.
package servicebus
