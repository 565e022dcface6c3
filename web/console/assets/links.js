// What the pages of mailed links do: the token is behind the #, which no server sees, and goes to the interface.

const said = document.getElementById("said");
const form = document.getElementById("form");
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return { ok: answer.ok, status: answer.status, body: await answer.json().catch(() => ({})) };
}

function reason(problem) {
  const [error] = problem.errors ?? [];
  if (error?.field === "new_password") return `The password ${error.message}.`;
  return problem.detail || "That didn't work: try again in a moment.";
}

async function tell(sending, done) {
  said.classList.remove("bad");
  try {
    const answer = await sending;
    said.classList.toggle("bad", !answer.ok);
    if (answer.status === 202) said.textContent = "That is on its way: it will be done in a moment.";
    else said.textContent = answer.ok ? done : reason(answer.body);
    return answer.ok;
  } catch {
    said.classList.add("bad");
    said.textContent = "The service can't be reached: try again in a moment.";
    return false;
  }
}

if (!token) {
  said.textContent = "There is no link here: follow the one in the mail, whole.";
  said.classList.add("bad");
  form?.remove();
} else {
  // Whoever looks over a shoulder, or at the history, finds no link that is still good.
  history.replaceState(null, "", location.pathname);
  if (said.dataset.link === "verify") {
    said.textContent = "One moment …";
    await tell(post("/v1/email-verifications", { token }), "Your address is confirmed. You can close this page.");
  }
  form?.querySelector("#shown").addEventListener("change", (event) => {
    form.querySelector("#password").type = event.target.checked ? "text" : "password";
  });
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    const body = { token, new_password: form.querySelector("#password").value };
    const done = await tell(
      post("/v1/password-resets/confirm", body),
      "Your password is set, and you are logged out everywhere. Log in with it.",
    );
    if (done) form.remove();
    button.disabled = false;
  });
}
