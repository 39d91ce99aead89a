// Buttons of which one is pressed.

/** Calls `choose(value)` when another button is pressed. */
export function segments(group, choose) {
  const buttons = [...group.querySelectorAll('button')];
  for (const button of buttons) {
    button.addEventListener('click', () => {
      if (button.getAttribute('aria-pressed') === 'true') return;
      press(group, button.dataset.value);
      choose(button.dataset.value);
    });
  }
}

/** Shows one as pressed. */
export function press(group, value) {
  for (const button of group.querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(button.dataset.value === value));
  }
}
