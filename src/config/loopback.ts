/** Whether an address can be reached from this machine only. */

/** @param listen HOST:PORT */
export function isLoopback(listen: string): boolean {
  return isLoopbackHost(listen.slice(0, listen.lastIndexOf(':')));
}

/** @param host with an IPv6 address in brackets */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}
