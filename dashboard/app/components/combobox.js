/** A text field with suggestions, after the ARIA combobox pattern: arrows, Enter, Tab, Escape. */
import { useEffect, useId, useState } from "../../vendor/preact-hooks.js";
import { html } from "../html.js";
import { Name } from "./text.js";

/**
 * @param {{value: string, options: {value: string, kind: string, detail: string}[],
 *          onInput: (text: string) => void, onToggle: (isOpen: boolean) => void,
 *          inputRef: object, label: string}} props
 */
export function Combobox({ value, options, onInput, onToggle, inputRef, label, placeholder, invalid }) {
  const listId = useId();
  const [isOpen, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const shown = isOpen && options.length > 0;
  useEffect(() => onToggle(shown), [shown]);

  const choose = (option) => {
    onInput(option.value);
    setOpen(false);
    setActive(-1);
  };

  const onKeyDown = (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setOpen(true);
      const step = event.key === "ArrowDown" ? 1 : -1;
      setActive((active + step + options.length) % Math.max(1, options.length));
    } else if ((event.key === "Enter" || event.key === "Tab") && shown && options[active]) {
      if (event.key === "Enter") event.preventDefault();
      choose(options[active]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      setOpen(false);
    } else if (event.key === "Escape" && shown) {
      event.preventDefault();
      setOpen(false);
    }
  };

  return html`
    <div class="combobox">
      <input
        ref=${inputRef}
        role="combobox"
        aria-label=${label}
        aria-expanded=${shown}
        aria-controls=${listId}
        aria-autocomplete="list"
        aria-activedescendant=${shown && active >= 0 ? `${listId}-${active}` : undefined}
        aria-invalid=${invalid}
        autocomplete="off"
        autocapitalize="off"
        spellcheck=${false}
        placeholder=${placeholder}
        value=${value}
        onInput=${(event) => {
          onInput(event.target.value);
          setOpen(true);
          setActive(-1);
        }}
        onFocus=${() => setOpen(true)}
        onBlur=${() => setOpen(false)}
        onKeyDown=${onKeyDown}
      />
      <ul id=${listId} role="listbox" class="options" aria-label=${label} hidden=${!shown}>
        ${options.map(
          (option, index) => html`
            <li
              key=${option.value}
              id=${`${listId}-${index}`}
              role="option"
              aria-selected=${index === active}
              onMouseDown=${(event) => event.preventDefault()}
              onClick=${() => choose(option)}
            >
              <span>
                ${option.title && html`<${Name} class="option-title">${option.title}<//>`}
                <${Name} class="option-name">${option.value}<//>
              </span>
              <span class="option-detail"><${Name}>${option.detail}<//></span>
            </li>
          `,
        )}
      </ul>
    </div>
  `;
}
