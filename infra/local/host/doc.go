// Package host stands in for the Azure Functions host on one machine: it reads a staged app (host.json, one folder
// per function) and does with the custom handler what the real host was seen to do on the wire. What a client, a
// test or the handler can notice is meant to be the same; where the real host is cruel to the handler, so is this.
//
// Read host.go (one host from Start to Stop), job.go (one reading of the app with its handler), handler.go and
// process.go (starting, watching and burying the handler's process), serve.go and proxy.go (HTTP on its way through),
// resend.go (what happens to a request that gets no answer), envelope.go (invocations that are not HTTP) and timer.go.
// Package app reads the files, package route the route templates.
//
// # What differs from the real host
//
// On purpose:
//   - The handler dies with this host even when the host gets SIGKILL (Linux; elsewhere it may be left an orphan,
//     as under the real host everywhere). A developer's machine should not fill up with orphans that hold ports; a
//     test that wants one asks for it (Options.Orphans).
//   - SIGTERM is for the program around this host to mind. The real host ignores it and goes on until SIGKILL.
//   - A non-HTTP answer with an empty body fails at once and says that it would hang in Azure, instead of hanging.
//   - No keys: functions must be anonymous, /admin answers without one, /runtime/webhooks answers 401 to everybody.
//     GET / without a function is 204, as with AzureWebJobsDisableHomepage; there is no homepage.
//   - Whatever would be ignored or done differently here is refused at load. A failed Restart keeps the old app.
//   - The handler's stdin is empty rather than the host's, and its process group its own: a terminal's Ctrl-C reaches
//     the host alone, which then stops as the real host does on SIGINT.
//   - Timers don't lock each other out between two hosts; give each its own StateDir.
//
// Because net/http answers clients where the real host has Kestrel:
//   - A response's reason phrase is the standard one for its status.
//   - A path with a broken percent escape (/%zz) is refused with 400, where it should pass as /%25zz; the 400 and 431
//     that net/http gives itself carry a line of text, and an absolute-form target of another host is accepted.
//   - Header names arrive in their canonical case, and a 304 loses its Content-Type.
//   - The 240 seconds without activity bound the wait for an answer's header only, not the pauses in its body.
package host
